-- child.lua - runs a program and takes what it prints, with a time limit. It starts programs anew
-- (posix_spawn) and never forks this process, whose threads and GPU contexts no fork survives.
local ffi = require "ffi"
local clock = require "fasc.clock"
local errors = require "fasc.errors"

local M = {}

if not pcall(ffi.typeof, "struct fasc_pollfd") then
    ffi.cdef [[
        struct fasc_pollfd { int fd; short events, revents; };
        int poll(struct fasc_pollfd *fds, unsigned long count, int milliseconds);
    ]]
end
ffi.cdef [[
    int pipe2(int fds[2], int flags);
    int close(int fd);
    ssize_t read(int fd, void *data, size_t bytes);
    int kill(int pid, int signal);
    int waitpid(int pid, int *status, int options);
    char *strsignal(int signal);
    char *strerror(int number);
    int posix_spawn(int *pid, const char *path, const void *actions, const void *attributes,
                    const char *const *argv, char *const *environment);
    int posix_spawn_file_actions_init(void *actions);
    int posix_spawn_file_actions_adddup2(void *actions, int from, int to);
    int posix_spawn_file_actions_destroy(void *actions);
    extern char **environ;
]]

local C = ffi.C
local CLOEXEC, POLLIN, SIGKILL, EINTR = 0x80000, 1, 9, 4 -- Linux, every architecture

local function system(what, number)
    if number ~= 0 then
        errors.raise("EIO", "child: %s: %s", what, ffi.string(C.strerror(number)))
    end
end

local function spawn(argv, output)
    local words = ffi.new("const char *[?]", #argv + 1)
    for i, word in ipairs(argv) do
        words[i - 1] = word
    end
    local actions = ffi.new "uint64_t[32]" -- larger than any libc's posix_spawn_file_actions_t
    local pid = ffi.new "int[1]"
    C.posix_spawn_file_actions_init(actions)
    C.posix_spawn_file_actions_adddup2(actions, output, 1)
    local failed = C.posix_spawn(pid, argv[1], actions, nil, words, C.environ)
    C.posix_spawn_file_actions_destroy(actions)
    system(argv[1], failed)
    return pid[0]
end

-- Reads until the end or the deadline; false at the deadline.
local function read_all(fd, parts, deadline)
    local poll = ffi.new("struct fasc_pollfd[1]", {{fd, POLLIN, 0}})
    local buffer = ffi.new "char[4096]"
    while true do
        local left = deadline and math.max(0, math.ceil(1000 * (deadline - clock.now()))) or -1
        local ready = C.poll(poll, 1, math.min(left, 2^31 - 1))
        if ready == 0 then
            return false
        elseif ready > 0 then
            local n = tonumber(C.read(fd, buffer, 4096))
            if n <= 0 then
                return true
            end
            parts[#parts + 1] = ffi.string(buffer, n)
        elseif ffi.errno() ~= EINTR then
            system("poll", ffi.errno())
        end
    end
end

local function wait(pid)
    local status = ffi.new "int[1]"
    while C.waitpid(pid, status, 0) < 0 and ffi.errno() == EINTR do
        status[0] = 0
    end
    return status[0]
end

--- How a child ended.
---@class fasc.ChildEnd
---@field output string     what it printed on stdout
---@field code integer?     its exit status
---@field signal string?    the name of the signal that ended it
---@field timed_out boolean it was ended because its time was over

--- Runs argv[1] (a path) with the arguments argv[2], ...; stderr is this process's own.
---@param argv string[]
---@param seconds number? how long it may take; nil = without limit
---@return fasc.ChildEnd
function M.run(argv, seconds)
    local fds = ffi.new "int[2]"
    system("pipe", C.pipe2(fds, CLOEXEC) ~= 0 and ffi.errno() or 0)
    local spawned, pid = pcall(spawn, argv, fds[1])
    C.close(fds[1])
    if not spawned then
        C.close(fds[0])
        error(pid, 0)
    end
    local parts = {}
    local ok, complete = pcall(read_all, fds[0], parts, seconds and clock.now() + seconds)
    C.close(fds[0])
    if not (ok and complete) then
        C.kill(pid, SIGKILL)
    end
    local status = wait(pid)
    if not ok then
        error(complete, 0)
    end
    local signal = status % 128
    return {
        output = table.concat(parts),
        code = signal == 0 and math.floor(status / 256) % 256 or nil,
        signal = signal ~= 0 and complete and ffi.string(C.strsignal(signal)) or nil,
        timed_out = not complete,
    }
end

return M
