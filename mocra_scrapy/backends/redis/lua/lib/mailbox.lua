-- uses: workers
-- What a worker is to hear in its next call.
local mailbox = (function()
    local call = redis.call

    local function open(packed)  -- {permits = {name -> how many to come down to}, holds = {name -> us of a hold}}
        return packed and cmsgpack.unpack(packed) or {permits = {}, holds = {}}
    end

    local function of(worker) return open(call('HGET', workers.key_of(worker), 'mail')) end

    local function send(worker, mail)
        local key = workers.key_of(worker)
        if next(mail.permits) or next(mail.holds) then call('HSET', key, 'mail', cmsgpack.pack(mail))
        else call('HDEL', key, 'mail') end
    end

    local function ask_to_come_down(worker, name, number)
        local mail = of(worker)
        mail.permits[name] = number
        send(worker, mail)
    end

    return {open = open, of = of, send = send, ask_to_come_down = ask_to_come_down}
end)()
