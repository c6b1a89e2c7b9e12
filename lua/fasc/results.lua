-- results.lua - measured records on disk: append-only JSON lines, one object a point. A record is
-- one write() to a file opened with O_APPEND, so a process that is killed loses at most the record
-- in flight and two processes may append to one file.
local ffi = require "ffi"
local errors = require "fasc.errors"
local host = require "fasc.host"
local json = require "fasc.json"

local M = {}

--- The layout of a record. It is raised when a field changes its meaning or goes; readers take
--- every schema up to theirs.
M.SCHEMA = 1

ffi.cdef [[
    int open(const char *path, int flags, ...);
    ssize_t write(int fd, const void *data, size_t bytes);
    int close(int fd);
    char *strerror(int number);
]]

local C = ffi.C
local WRONLY, CREAT, APPEND, CLOEXEC = 0x1, 0x40, 0x400, 0x80000 -- Linux, every architecture
local EINTR = 4

local Writer = {}
Writer.__index = Writer

local function fail(path, number)
    errors.raise("EIO", "results: %s: %s", path, ffi.string(C.strerror(number)))
end

-- Does the file end in the middle of a line, because its writer was killed?
local function is_torn(path)
    local file = io.open(path, "rb")
    local torn = file and file:seek("end", -1) ~= nil and file:read(1) ~= "\n"
    if file then
        file:close()
    end
    return torn or false
end

--- Opens a file for appending; makes it and the folders above it where they are missing.
--- Raises EIO if it cannot be written.
---@param path string
---@return fasc.ResultsWriter
function M.open(path)
    local folder = path:match "^(.*)/[^/]*$"
    if folder and folder ~= "" then
        local made, message = host.mkdir(folder)
        if not made then
            errors.raise("EIO", "results: %s", message)
        end
    end
    local flags = WRONLY + CREAT + APPEND + CLOEXEC
    local fd = C.open(path, flags, ffi.cast("int", 438)) -- 0666, less the umask
    if fd < 0 then
        fail(path, ffi.errno())
    end
    return setmetatable({path = path, fd = fd, torn = is_torn(path)}, Writer)
end

--- Appends a record as one line.
---@param record table
function Writer:append(record)
    local line = (self.torn and "\n" or "") .. json.encode(record) .. "\n"
    local done = 0
    local start = ffi.cast("const char *", line)
    while done < #line do
        local n = tonumber(C.write(self.fd, start + done, #line - done))
        if n >= 0 then
            done = done + n
        elseif ffi.errno() ~= EINTR then
            self.torn = done > 0
            fail(self.path, ffi.errno())
        end
    end
    self.torn = false
end

function Writer:close()
    if self.fd >= 0 then
        C.close(self.fd)
        self.fd = -1
    end
end

--- Where a sweep's records go unless --output says so.
---@param sweep string
---@return string
function M.default_path(sweep)
    return ("results/%s-%s.jsonl"):format(sweep, os.date "!%Y%m%d-%H%M%S")
end

local function read_line(line)
    local ok, record = pcall(json.decode, line)
    if not ok then
        return nil, errors.is(record) and record.message or tostring(record)
    elseif type(record) ~= "table" or type(record.schema) ~= "number" then
        return nil, "is no record: it has no schema number"
    elseif record.schema > M.SCHEMA then
        return nil, ("has schema %d; this program reads up to %d"):format(record.schema, M.SCHEMA)
    end
    return record
end

--- Reads a file of records. Lines that cannot be read are left out and named in the second
--- result: "FILE:12: json: byte 7: ...". Raises EIO if the file cannot be opened.
---@param path string
---@return table[] records
---@return string[] problems
function M.read(path)
    local file, message = io.open(path, "rb")
    if not file then
        errors.raise("EIO", "results: %s", message)
    end
    local records, problems, number = {}, {}, 0
    for line in file:lines() do
        number = number + 1
        if line:find "%S" then
            local record, problem = read_line(line)
            records[#records + 1] = record
            if problem then
                problems[#problems + 1] = ("%s:%d: %s"):format(path, number, problem)
            end
        end
    end
    file:close()
    return records, problems
end

return M
