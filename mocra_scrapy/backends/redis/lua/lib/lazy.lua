-- lazy.library(make): a library that is made when something of it is used first; lazy.is_made(library). Each call makes its
-- libraries anew, a closure for each of their functions: for one that few calls use, all others need not pay.
-- lazy.with_rest(library, make): the same for a part of a library, without a state: make() gives what else it has.
--
-- In a function (see scripts.py) what is made stays, and only the state is made anew: make() returns the library, and the
-- function that does that, which runs at the first use in each call. KEYS is not there while a function is loaded.
local lazy = (function()
    local UNMADE, STAYS = {}, not KEYS
    local kept, used = {}, {}  -- library -> {its metatable, what makes its state}; those that this call has used

    local function open(library)
        if not STAYS then
            local made, fresh = rawget(library, 1)()
            setmetatable(library, {__index = made, __newindex = made})
            if fresh then fresh() end
            return made
        end
        local one = kept[library]
        if not one then
            local made, fresh = rawget(library, 1)()
            one = {{__index = made, __newindex = made}, fresh}
            kept[library] = one
        end
        setmetatable(library, one[1])
        used[#used + 1] = library
        if one[2] then one[2]() end
        return one[1].__index
    end

    local function fresh()
        for i = #used, 1, -1 do
            setmetatable(used[i], UNMADE)
            used[i] = nil
        end
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

    return {library = library, is_made = is_made, with_rest = with_rest, fresh = fresh}
end)()
