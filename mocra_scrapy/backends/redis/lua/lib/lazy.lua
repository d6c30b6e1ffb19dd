-- lazy.library(make): a library that is made when something of it is used first; lazy.is_made(library): whether that was in
-- this call. A script makes its libraries anew each time, a closure for each of their functions: for one that few calls use,
-- all others need not pay.
-- lazy.with_rest(library, make): the same for a part of a library, without a state: make() gives what else it has.
--
-- In a function of the server (see scripts.py) what is made stays, and each call finds it with a state of its own. So what a
-- library notes in locals or in its own fields it sets in fresh(), all of it and nothing else; outside of it, and of
-- functions, stand only constants and functions of libraries that are not lazy. fresh() runs before a call uses the library
-- first, in a script where it stands: behind all else. A library that has one returns it, too.
local lazy = (function()
    local UNMADE, STAYS = {}, not KEYS
    local used  -- in a function: those that this call has used. What such a one was made with: {its metatable, its fresh()}

    local function open(library)
        local make = rawget(library, 1)
        if not STAYS then
            local made = make()
            setmetatable(library, {__index = made, __newindex = made})
            return made
        end
        if type(make) == 'function' then
            local made, fresh = make()
            make = {{__index = made, __newindex = made}, fresh}
            rawset(library, 1, make)
        end
        used[#used + 1] = library
        setmetatable(library, make[1])
        if make[2] then make[2]() end
        return make[1].__index
    end

    UNMADE.__index = function(library, name) return open(library)[name] end
    UNMADE.__newindex = function(library, name, value) open(library)[name] = value end

    local function library(make) return setmetatable({make}, UNMADE) end

    local function is_made(one) return getmetatable(one) ~= UNMADE end

    local function open_rest(one, name)
        local make = getmetatable(one)[1]
        setmetatable(one, nil)
        for key, value in pairs(make()) do one[key] = value end
        return one[name]
    end

    local function with_rest(one, make)
        if not STAYS then return setmetatable(one, {make, __index = open_rest}) end
        for key, value in pairs(make()) do one[key] = value end
        return one
    end

    local function fresh()
        for i = 1, used and #used or 0 do setmetatable(used[i], UNMADE) end
        used = STAYS and {} or nil
    end

    return {library = library, is_made = is_made, with_rest = with_rest}, fresh
end)()
