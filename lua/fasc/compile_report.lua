-- compile_report.lua - what the compiler says of kernels that are compiled at run time: the structs
-- fasc_compile_report and fasc_function_report as plain tables.
local fasc_ffi = require "fasc.ffi"

local ffi = fasc_ffi.ffi

local M = {}

--- One GPU function.
---@class fasc.FunctionReport
---@field name string
---@field registers number       of a thread
---@field spill_bytes number     stored plus loaded
---@field stack_bytes number     of a thread
---@field smem_static number     bytes of shared memory fixed at compile time
---@field smem_dynamic number    bytes asked for at launch
---@field threads number         of a block; 0 where no launch is known
---@field blocks_per_unit number blocks that a multiprocessor holds at once
---@field occupancy number       warps it then holds / warps it could hold

--- One configuration: a source file compiled with its macros for one architecture.
---@class fasc.CompileReport
---@field source string "kernels/naive.cu"
---@field macros string "ELEMENT=f16"
---@field arch string   "sm_90a"
---@field cache string  "hit", "stored", or why it was not stored
---@field seconds number that compiling took, now or when it was stored
---@field failed boolean it does not compile, or breaks a rule that it ships under
---@field warning_count number
---@field message string why it failed, then the warnings; "" = none
---@field functions fasc.FunctionReport[]

local TEXTS = {"source", "macros", "arch", "cache", "message"}
local NUMBERS = {
    "registers", "spill_bytes", "stack_bytes", "smem_static", "smem_dynamic", "threads",
    "blocks_per_unit", "occupancy",
}

local metatable = {}

function metatable.__tostring(report)
    local lines = {("%s %s (%s)"):format(report.source, report.macros, report.arch)}
    for _, f in ipairs(report.functions) do
        local launch = f.threads == 0 and "" or
            ("; %.0f threads, %.0f blocks a multiprocessor, occupancy %.0f%%"):format(f.threads,
                f.blocks_per_unit, 100 * f.occupancy)
        lines[#lines + 1] = ("  %s: %.0f registers, %.0f B spilled, %.0f B shared%s"):format(f.name,
            f.registers, f.spill_bytes, f.smem_static + f.smem_dynamic, launch)
    end
    for line in report.message:gmatch "[^\n]+" do
        lines[#lines + 1] = "  " .. line
    end
    return table.concat(lines, "\n")
end

local list_metatable = {
    __tostring = function(list)
        local texts = {}
        for i, report in ipairs(list) do
            texts[i] = tostring(report)
        end
        return table.concat(texts, "\n")
    end,
}

local function function_from(struct)
    local f = {name = fasc_ffi.string(struct.name)}
    for _, field in ipairs(NUMBERS) do
        f[field] = tonumber(struct[field])
    end
    return f
end

local function from(struct)
    local report = {
        seconds = struct.seconds, failed = struct.failed ~= 0,
        warning_count = tonumber(struct.warning_count), functions = {},
    }
    for _, field in ipairs(TEXTS) do
        report[field] = fasc_ffi.string(struct[field])
    end
    for i = 0, struct.function_count - 1 do
        report.functions[i + 1] = function_from(struct["function"][i])
    end
    return setmetatable(report, metatable)
end

--- All reports of a C call f(index, report, count), which returns a status.
---@param f fun(index: integer, report: ffi.cdata*?, count: ffi.cdata*): integer
---@param check fun(status: integer) raises the library's error
---@return fasc.CompileReport[]
function M.all(f, check)
    local count, list = ffi.new "int32_t[1]", setmetatable({}, list_metatable)
    check(f(0, nil, count))
    for i = 0, count[0] - 1 do
        local struct = fasc_ffi.new "fasc_compile_report"
        check(f(i, struct, count))
        list[i + 1] = from(struct)
    end
    return list
end

return M
