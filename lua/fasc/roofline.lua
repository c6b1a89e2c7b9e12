-- roofline.lua - how fast a device can compute and move data, as measured by scripts/calibrate.lua,
-- and what share of that a measurement reaches. Kept per device in $XDG_CACHE_HOME/fasc.
--
-- A call that computes F and must move B takes at least max(F / rate of its dtype, B / bandwidth);
-- that over its median is its share, and the larger of the two is what bounds it. Data that stays
-- in the caches between calls does not cross the memory's bandwidth: for hot points below
-- CACHE_FACTOR times the last-level cache only F counts. Where the host needs longer to queue a
-- call than the device to do it, the host bounds whoever calls (a CUDA graph spares it).
local clock = require "fasc.clock"
local devices = require "fasc.device"
local host = require "fasc.host"
local json = require "fasc.json"

local M = {}

local CACHE_FACTOR = 4

-- One entry for each device as it is configured: model, instruction set, threads.
local function key_of(device)
    local info = device:info()
    local threads = device.name == "cpu" and devices.num_threads() or info.units
    return ("%s|%s|%d"):format(info.model, info.arch, threads)
end

--- The file that holds all devices' ceilings.
---@return string
function M.path()
    local cache = os.getenv "XDG_CACHE_HOME"
    if not cache or cache == "" then
        cache = (os.getenv "HOME" or ".") .. "/.cache"
    end
    return cache .. "/fasc/ceilings.json"
end

local function read_all()
    local file = io.open(M.path(), "rb")
    if not file then
        return json.object {}
    end
    local ok, all = pcall(json.decode, file:read "*a")
    file:close()
    return ok and type(all) == "table" and all or json.object {}
end

-- Written beside and renamed, so that a reader never sees half of it. What cannot be written is
-- measured again.
local function write_all(all)
    local path = M.path()
    local temporary = ("%s.%.0f"):format(path, 1e9 * clock.now())
    host.mkdir(path:match "^(.*)/")
    local file = io.open(temporary, "wb")
    if file then
        file:write(json.encode(all), "\n")
        file:close()
        os.rename(temporary, path)
    end
end

--- A device's ceilings: bytes per second, and FLOP/s by dtype.
---@class fasc.Ceilings
---@field device fasc.Device
---@field bandwidth number?
---@field rate table<string, number>
local Ceilings = {}
Ceilings.__index = Ceilings

--- The ceilings that were measured on a device, in this process or an earlier one; without any,
--- shares are nil.
---@param device fasc.Device
---@return fasc.Ceilings
function M.of(device)
    local known = read_all()[key_of(device)] or {}
    return setmetatable({
        device = device,
        cache_bytes = device:info().l2_bytes,
        bandwidth = known.bandwidth,
        rate = known.rate or {},
    }, Ceilings)
end

--- Is anything known?
---@return boolean
function Ceilings:known()
    return self.bandwidth ~= nil or next(self.rate) ~= nil
end

-- Does this measurement tell of the memory, and not of the caches?
local function crosses_memory(self, row)
    local t = row.timing
    return row.bytes and (t.cold or (t.rotate or 1) > 1
        or row.bytes >= CACHE_FACTOR * self.cache_bytes)
end

--- Raises the ceilings to what a measurement reached in its fastest call; they never sink.
---@param row fasc.Row a checked and timed one
function Ceilings:learn(row)
    local fastest, raised = row.timing.min, false
    local rate = row.flops and row.flops / fastest or 0
    if row.dtype and rate > (self.rate[row.dtype] or 0) then
        self.rate[row.dtype], raised = rate, true
    end
    local bandwidth = crosses_memory(self, row) and row.bytes / fastest or 0
    if bandwidth > (self.bandwidth or 0) then
        self.bandwidth, raised = bandwidth, true
    end
    if raised then
        local all = read_all()
        all[key_of(self.device)] = json.object {
            {"bandwidth", self.bandwidth}, {"rate", self.rate},
        }
        write_all(all)
    end
end

--- The share of the roof that a measurement reaches, and what bounds it: "compute", "memory" or
--- "host"; nil where no ceiling is known.
---@param row fasc.Row
---@return {share: number, bound: string}?
function Ceilings:share(row)
    local rate = row.dtype and self.rate[row.dtype]
    local compute = rate and row.flops and row.flops / rate or 0
    local memory = self.bandwidth and crosses_memory(self, row) and row.bytes / self.bandwidth or 0
    local least = math.max(compute, memory)
    if least > 0 then
        return {
            share = least / row.timing.median,
            bound = (row.timing.host_overhead or 0) > row.timing.median and "host"
                or compute >= memory and "compute" or "memory",
        }
    end
end

return M
