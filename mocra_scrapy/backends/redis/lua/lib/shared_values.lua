-- uses: coordination
-- A namespace of values: the hash KEYS[1].
local shared_values = (function()
    local text = coordination.text

    local function open(packed)  -- {version, fence, value or false}
        local version, fence, value = 0, 0, false
        if packed then version, fence, value = unpack(cmsgpack.unpack(packed)) end
        return {version = version, fence = fence, value = value}
    end

    local function pack(one) return cmsgpack.pack({one.version, one.fence, one.value}) end

    local function read(name) return open(redis.call('HGET', KEYS[1], name)) end

    local function answer(one) return {text(one.version), text(one.fence), one.value} end

    return {open = open, pack = pack, read = read, answer = answer}
end)()
