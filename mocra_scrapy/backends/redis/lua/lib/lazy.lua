-- lazy.library(make): a library that is made when something of it is used first; lazy.is_made(library). Each call makes its
-- libraries anew, a closure for each of their functions: for one that few calls use, all others need not pay.
-- lazy.with_rest(library, make): the same for a part of a library: make() gives what else it has.
local lazy = (function()
    local UNMADE = {}

    local function open(library)
        local made = rawget(library, 1)()
        setmetatable(library, {__index = made, __newindex = made})
        return made
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

    local function with_rest(one, make) return setmetatable(one, {make, __index = open_rest}) end

    return {library = library, is_made = is_made, with_rest = with_rest}
end)()
