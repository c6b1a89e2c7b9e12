-- errors.lua - the one kind of error that fasc raises: a table with a status, a message and the
-- place in the caller's script.
local fasc_ffi = require "fasc.ffi"

local C = fasc_ffi.C

local M = {}

--- What pcall gets when a fasc call fails. tostring(e) is one line:
--- "script.lua:12: attention: k: head_dim 96 differs from q's 128".
---@class fasc.Error
---@field status string  "EINVAL", "ENOMEM", "ECANCELED", ...: the name in fasc.h without FASC_
---@field message string names the call, the argument, what was given and the rule
---@field where string?  "script.lua:12": the innermost line outside of fasc's own modules
local Error = {__name = "fasc.Error"}

function Error.__tostring(e)
    return e.where and e.where .. ": " .. e.message or e.message
end

function Error.__concat(a, b)
    return tostring(a) .. tostring(b)
end

-- "@lua/fasc/" when embedded, "@DIR/fasc/" when read from disk.
local OWN_FOLDER = debug.getinfo(1, "S").source:gsub("[^/]*$", "")

local function caller()
    local level = 3
    while true do
        local info = debug.getinfo(level, "Sl")
        if not info then
            return nil
        end
        if info.currentline > 0 and info.source:sub(1, #OWN_FOLDER) ~= OWN_FOLDER then
            return info.short_src .. ":" .. info.currentline
        end
        level = level + 1
    end
end

local function throw(status, message)
    error(setmetatable({status = status, message = message, where = caller()}, Error), 0)
end

--- Is this value an error that fasc raised?
---@param e any
---@return boolean
function M.is(e)
    local mt = type(e) == "table" and getmetatable(e)
    return mt and mt.__name == Error.__name or false
end

--- Raises an error. The message is built with string.format when arguments follow.
---@param status string "EINVAL", "ENOMEM", ...
---@param message string
function M.raise(status, message, ...)
    if select("#", ...) > 0 then
        message = message:format(...)
    end
    throw(status, message)
end

--- Raises EINVAL: the caller broke a rule.
---@param message string
function M.usage(message, ...)
    M.raise("EINVAL", message, ...)
end

--- Raises the library's last error unless status is FASC_OK.
---@param status ffi.cdata* the fasc_status that a C call returned
function M.check(status)
    if status ~= 0 then
        local name = fasc_ffi.string(C.fasc_status_name(status)):gsub("^FASC_", "")
        throw(name, fasc_ffi.string(C.fasc_last_error()))
    end
end

return M
