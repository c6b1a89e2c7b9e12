-- shell.lua - runs programs for the command-line tests and takes what they print.
local host = require "fasc.host"

local M = {}

--- The program under test, and the folder of its build or installation.
M.program = host.executable
M.prefix = M.program:match "^(.*)/bin/[^/]*$"

--- A word as the shell takes it literally.
function M.quote(word)
    return "'" .. word:gsub("'", "'\\''") .. "'"
end

function M.write(path, text)
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
    return path
end

function M.read(path)
    local file = io.open(path, "r")
    local text = file and file:read "*a"
    if file then
        file:close()
    end
    return text or ""
end

--- Runs a shell command: {code =, out =, err =}. It is killed (code 137) if it takes a minute. The
--- user's configuration is out of its reach.
---@param command string
---@param stdin string?
function M.sh(command, stdin)
    local base = os.tmpname()
    M.write(base .. ".in", stdin or "")
    local status = os.execute(("XDG_CONFIG_HOME=/dev/null timeout -s KILL 60 "
        .. "sh -c %s <%s.in >%s.out 2>%s.err"):format(M.quote(command), base, base, base))
    local result = {
        code = math.floor(status / 256),
        out = M.read(base .. ".out"),
        err = M.read(base .. ".err"),
    }
    for _, suffix in ipairs {"", ".in", ".out", ".err"} do
        os.remove(base .. suffix)
    end
    return result
end

--- The command line of fasc-bench with these arguments.
function M.command(...)
    local words = {M.quote(M.program)}
    for i = 1, select("#", ...) do
        words[i + 1] = M.quote((select(i, ...)))
    end
    return table.concat(words, " ")
end

--- Runs fasc-bench with these arguments, without input.
function M.bench(...)
    return M.sh(M.command(...))
end

--- Is this program installed?
function M.has(name)
    return M.sh("command -v " .. name).code == 0
end

return M
