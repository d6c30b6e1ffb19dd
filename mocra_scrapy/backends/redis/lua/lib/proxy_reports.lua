-- uses: coordination proxies
-- How outcomes change the records of proxies. Times are ms. `bounds` is what the caller was asked with.
local proxy_reports = (function()
    local now, touch, read, said = coordination.now, proxies.touch, proxies.read, proxies.said
    local KEEP, UNPROVED, WITNESSES, OF_PROXY, OF_SITE = 0.8, 1 / 3, 30, 1, 2

    local function has(bits, bit) return math.floor(bits / bit) % 2 == 1 end

    local function go_out(record, why, bounds)
        record.times, record.row, record.prober, record.why, record.at = record.times + 1, 0, '', why, now
        local base = why == 'ban' and bounds.ban_cool_down or bounds.cool_down
        local longest = math.max(bounds.cool_down_max, base)
        local wait = math.min(longest, base * 2 ^ math.min(30, record.times - 1))
        record['until'] = now + (why == 'credentials' and longest or wait)
    end

    local function succeeded(proxy, site, good, latency, age, is_probe)
        local record, kept = touch(proxy, site), KEEP ^ good
        record.success = 1 - (1 - record.success) * kept
        if latency > 0 then
            record.latency = record.latency > 0 and latency + (record.latency - latency) * kept or latency
        end
        record.good = math.max(record.good, now - age)
        if record['until'] > 0 and is_probe then
            record['until'], record.prober, record.why, record.row = 0, '', '', 0
            record.times = math.floor(record.times / 2)
            said.back[#said.back + 1] = {proxy, site}
        elseif record['until'] == 0 then
            record.row, record.mixed, record.at_site = 0, false, ''
            record.times = math.max(0, record.times - 1)
        end
    end

    local function failed(one, site, is_probe, bounds)
        local record = touch(one.proxy, site)
        record.success = record.success * KEEP ^ one.bad
        if record['until'] > 0 then
            if is_probe then go_out(record, one.kind, bounds) end
            return
        end
        if record.row == 0 or one.good > 0 then record.row, record.at_site, record.mixed = 0, one.site, false end
        local is_hard = one.kind == 'proxy' or one.kind == 'credentials'
        record.mixed = record.mixed or is_hard or record.at_site ~= one.site
        record.row = math.min(bounds.failures, record.row + (one.good > 0 and one.row or one.bad))
        if one.kind == 'credentials' or (record.row >= bounds.failures and (site ~= '' or record.mixed)) then
            go_out(record, one.kind, bounds)
            said.out[#said.out + 1] = {one.proxy, site}
        end
    end

    local function pardon(proxy, site, first)  -- what it did there since first was the site's fault
        local record = read(proxy, site)
        if record and (record.row > 0 or record['until'] > 0) and (record['until'] == 0 or record.at >= first) then
            if record['until'] > 0 then
                said.back[#said.back + 1] = {proxy, site}
                record.times = record.times - 1
            end
            record = touch(proxy, site)
            record.row, record['until'], record.why, record.prober = 0, 0, '', ''
        end
        local whole = read(proxy, '')
        if whole and whole.row > 0 and not whole.mixed and whole.at_site == site then touch(proxy, '').row = 0 end
    end

    local function weight_of(failed_here)
        local sum = 0
        for proxy, one in pairs(failed_here) do
            local whole = one[2] == 0 and read(proxy, '')
            sum = sum + (whole and whole.good > one[1] and 1 or UNPROVED)
        end
        return sum
    end

    local function is_down(one, bounds)  -- whether this failure is the site's fault
        local outage = touch('', one.site)
        outage.failed, outage.failures = outage.failed or {}, outage.failures or 0
        local mine = outage.failed[one.proxy]
        if mine or outage.failures < WITNESSES then
            if not mine then outage.failures = outage.failures + 1 end
            local is_ban = one.kind == 'ban' and (not mine or mine[2] == 1)
            outage.failed[one.proxy] = {mine and mine[1] or now, is_ban and 1 or 0}
        end
        if outage['until'] <= now then
            if weight_of(outage.failed) < bounds.several - 0.001 then return false end
            said.down[#said.down + 1] = one.site
        end
        outage['until'] = now + bounds.site_down
        for proxy, its in pairs(outage.failed) do pardon(proxy, one.site, its[1]) end
        return true
    end

    local function report(one, bounds)
        if one.good > 0 then
            local outage = read('', one.site)
            if outage and outage.failed then
                touch('', one.site)
                outage.failed, outage.failures, outage['until'] = nil, nil, 0
            end
            succeeded(one.proxy, one.site, one.good, one.latency, one.age, has(one.probe, OF_SITE))
            succeeded(one.proxy, '', one.good, one.latency, one.age, has(one.probe, OF_PROXY))
        end
        if one.bad > 0 and (one.kind == 'proxy' or one.kind == 'credentials') then
            failed(one, '', has(one.probe, OF_PROXY), bounds)
        elseif one.bad > 0 and not is_down(one, bounds) then
            failed(one, one.site, has(one.probe, OF_SITE), bounds)
            if one.kind == 'doubt' then failed(one, '', has(one.probe, OF_PROXY), bounds)
            elseif has(one.probe, OF_PROXY) then succeeded(one.proxy, '', 1, 0, 0, true) end  -- it got there
        end
        for _, bit in ipairs({OF_PROXY, OF_SITE}) do  -- where it said nothing it is somebody else's turn
            local site = bit == OF_SITE and one.site or ''
            local record = has(one.probe, bit) and read(one.proxy, site)
            if record and record.prober ~= '' then
                touch(one.proxy, site).prober = ''
                if one.bad > 0 and record['until'] > 0 then  -- the site is at fault: no use in trying at once again
                    record['until'] = math.max(record['until'], now + bounds.cool_down)
                end
            end
        end
    end

    return {report = report}
end)()
