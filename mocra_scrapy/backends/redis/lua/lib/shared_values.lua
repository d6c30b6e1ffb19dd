-- uses: coordination
-- A namespace of values: the hash KEYS[1].
local shared_values = (function()
    local text = coordination.text

    local function open(packed)  -- {version, fence, value or false}; what none of us has written as it is, with version 0
        if not packed then return {version = 0, fence = 0, value = false} end
        local good, one = pcall(cmsgpack.unpack, packed)
        if good and type(one) == 'table' and type(one[1]) == 'number' and type(one[2]) == 'number' then
            return {version = one[1], fence = one[2], value = one[3]}
        end
        return {version = 0, fence = 0, value = packed}
    end

    local function pack(one) return cmsgpack.pack({one.version, one.fence, one.value}) end

    local function read(name) return open(redis.call('HGET', KEYS[1], name)) end

    local function answer(one) return {text(one.version), text(one.fence), one.value} end

    return {open = open, pack = pack, read = read, answer = answer}
end)()
