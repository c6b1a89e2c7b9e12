-- environment.lua - where and with what a number was measured: the part of a record that makes it
-- comparable, or says why it is not.
local fasc_ffi = require "fasc.ffi"
local device = require "fasc.device"
local json = require "fasc.json"

local M = {}

local function first_line(path)
    local file = io.open(path, "r")
    local line = file and file:read "*l"
    if file then
        file:close()
    end
    return line
end

--- The average number of runnable processes over the last minute; nil where the system does not
--- say. A load near the number of cores before a measurement means that it was disturbed.
---@return number?
function M.load()
    return tonumber((first_line "/proc/loadavg" or ""):match "^%S+")
end

--- Now, in UTC: "2025-01-31T12:30:05Z".
---@return string
function M.date()
    return os.date "!%Y-%m-%dT%H:%M:%SZ" --[[@as string]]
end

-- The command line as it was typed: the program (without its folder, which is this machine's own),
-- its options, the script, its arguments.
local function command_line()
    local words = json.array()
    local first = 0
    while arg and arg[first - 1] do
        first = first - 1
    end
    for i = first, arg and #arg or -1 do
        words[#words + 1] = i == first and arg[i]:match "[^/]*$" or arg[i]
    end
    return words
end

local function describe(info, names)
    local fields = {}
    for i, name in ipairs(names) do
        fields[i] = {name, info[name]}
    end
    return json.object(fields)
end

-- What the device can do at most, and how it runs before anything is measured.
local function clocks(dev)
    local state = dev:state()
    return state and describe(state, {
        "clock_mhz", "clock_max_mhz", "memory_clock_mhz", "power_watts", "power_max_watts",
        "temperature",
    })
end

--- What the library and its device are, what the machine is, and how it was called.
---@param dev fasc.Device the device that is measured
---@return table an ordered JSON object
function M.collect(dev)
    local cpu = device.open "cpu"
    local host = cpu:info()
    return json.object {
        {"fasc", json.decode(fasc_ffi.string(fasc_ffi.C.fasc_build_info()))},
        {"device", describe(dev:info(), {
            "name", "model", "arch", "driver", "runtime", "units", "memory_total", "l2_bytes",
        })},
        {"clocks", clocks(dev)},
        {"cpu", json.object {
            {"model", host.model},
            {"isa", host.arch},
            {"threads", device.num_threads()},
            {"memory_bytes", host.memory_total},
            {"governor", first_line "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"},
        }},
        {"system", json.object {
            {"kernel", (first_line "/proc/sys/kernel/ostype" or "") .. " "
                .. (first_line "/proc/sys/kernel/osrelease" or "")},
        }},
        {"command", command_line()},
    }
end

--- What must be equal for one record to stand in for another: library, device and threads.
---@param environment table
---@return string
function M.key(environment)
    local fasc, dev, cpu = environment.fasc or {}, environment.device or {}, environment.cpu or {}
    local parts = {}
    for _, value in ipairs {
        fasc.version or "", fasc.commit or "", fasc.dirty == nil and "" or fasc.dirty,
        fasc.build_type or "", dev.name or "", dev.model or "", dev.arch or "",
        dev.driver or "", dev.runtime or "", cpu.model or "", cpu.threads or "",
    } do
        parts[#parts + 1] = tostring(value)
    end
    return table.concat(parts, "|")
end

return M
