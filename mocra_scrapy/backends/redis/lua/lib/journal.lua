-- All or nothing: what a script has written is taken back when one of its commands fails (a key that somebody else wrote, a
-- right that is missing, a size, a mistake of ours), so that a repeat of the call finds everything as it was. Whoever writes
-- what a second time would not mend notes, behind it, how it is taken back. Not noted is what may happen twice: a renewed
-- lease, a departure that is booked, a permit, time limits of keys, deletions of what nobody can see any more.
local journal = (function()
    local steps, n

    local function note(...)  -- a command, or a function and its arguments
        n = n + 1
        steps[n] = {...}
    end

    local function commit() steps, n = {}, 0 end  -- from here on an error costs the answer, not the call

    local function take_back()
        local all, last = steps, n
        commit()
        for i = last, 1, -1 do
            local step = all[i]
            if type(step[1]) == 'function' then pcall(unpack(step)) else redis.pcall(unpack(step)) end
        end
    end

    local function whole(work)  -- work(), or nothing of it
        local is_done, answer = pcall(work)
        if is_done then return answer end
        take_back()
        error(answer, 0)
    end

    local function fresh()
        steps, n = {}, 0
    end

    return {note = note, commit = commit, whole = whole}, fresh
end)()
