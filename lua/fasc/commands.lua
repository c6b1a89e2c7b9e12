-- commands.lua - the lines of the prompt that are no Lua: ?name, and % with a command's name.
local bench = require "fasc.expression_bench"
local clock = require "fasc.clock"
local devices = require "fasc.device"
local errors = require "fasc.errors"
local help = require "fasc.help"
local host = require "fasc.host"
local options = require "fasc.options"
local report = require "fasc.report"

local M = {}

local PROMPT_HELP = [[
?name            what a function, a method (?t:slice), a module (?fasc.op) or an option class is
%time EXPR       runs it once and says how long that took
%bench EXPR      times it as the harness does: warm-up, samples, median, spread
%run SCRIPT ...  runs a script, a file or one that comes with fasc, with arguments
heat(t) show(t)  a map in the terminal; as a PNG
tune(q, k, v)    searches the kernels' configurations on real inputs
kernels()        the kernels of the device
_                the last value; a line that ends in ; shows nothing
TAB completes names, options in a call's table, tensors in a file, and paths; Ctrl-R searches the
history, as does Up for what is typed; Ctrl-C stops what runs; Ctrl-D leaves.]]

-- ---- %run ---------------------------------------------------------------------------------

-- A command line's words; quotes keep spaces.
local function split_words(text)
    local words, word, quote = {}, nil, nil
    for c in text:gmatch "." do
        if quote then
            word, quote = c == quote and word or word .. c, c ~= quote and quote or nil
        elseif c == '"' or c == "'" then
            word, quote = word or "", c
        elseif c:find "%s" then
            words[#words + 1] = word
            word = nil
        else
            word = (word or "") .. c
        end
    end
    if quote then
        errors.usage("%%run: a %s is not closed", quote)
    end
    words[#words + 1] = word
    return words
end

local function names_of_scripts()
    local names = {}
    for _, name in ipairs(host.list(host.scripts_dir) or {}) do
        names[#names + 1] = name:match "^(.*)%.lua$"
    end
    table.sort(names)
    return names
end

--- The scripts that come with fasc, without ".lua".
M.scripts = names_of_scripts

local function find_script(name)
    local file = io.open(name, "r")
    if file then
        file:close()
        return name
    end
    if not name:find "/" then
        local path = ("%s/%s.lua"):format(host.scripts_dir, (name:gsub("%.lua$", "")))
        file = io.open(path, "r")
        if file then
            file:close()
            return path
        end
    end
    errors.usage("%%run: no script and no file named '%s'%s", name,
        options.hint(name, names_of_scripts()))
end

local Exit = {} -- what os.exit raises while a script runs under the prompt

-- Scripts end with os.exit, which must not end the prompt.
local function run_script(text)
    local words = split_words(text)
    if #words == 0 then
        errors.usage("%%run: which script? (%s)", table.concat(names_of_scripts(), " "))
    end
    local path = find_script(words[1])
    local chunk, message = loadfile(path)
    if not chunk then
        error(message, 0)
    end
    local old_arg, old_exit, status = rawget(_G, "arg"), os.exit, 0
    rawset(_G, "arg", {[0] = path, unpack(words, 2)})
    os.exit = function(code) -- luacheck: ignore 122
        status = code == true and 0 or code == false and 1 or code or 0
        error(Exit, 0)
    end
    local ok, err = xpcall(function()
        chunk(unpack(words, 2))
    end, function(e)
        return (e == Exit or errors.is(e)) and e or debug.traceback(tostring(e), 2)
    end)
    os.exit = old_exit -- luacheck: ignore 122
    rawset(_G, "arg", old_arg)
    if not ok and err ~= Exit then
        error(err, 0)
    elseif status ~= 0 then
        io.stdout:flush()
        io.stderr:write(("%s ended with status %s\n"):format(words[1], tostring(status)))
    end
end

-- ---- %time, %bench ------------------------------------------------------------------------

local function expression(name, text, compile)
    if not text:find "%S" then
        errors.usage("%%%s: needs an expression: %%%s attention(q, k, v)", name, name)
    end
    local chunk, message = compile(text)
    if not chunk then
        error(message, 0)
    end
    return chunk
end

local function time(text, compile)
    local chunk = expression("time", text, compile)
    local start = clock.now()
    local values = {n = 0}
    local function keep(...)
        values = {n = select("#", ...), ...}
    end
    keep(chunk())
    for _, device in pairs(devices.opened()) do
        devices.synchronize(device)
    end
    io.stdout:write(report.time(clock.now() - start), "\n")
    return unpack(values, 1, values.n)
end

-- ---- all ----------------------------------------------------------------------------------

local COMMANDS = {
    time = time,
    bench = function(text, compile)
        return bench.run(text, expression("bench", text, compile))
    end,
    run = run_script,
    help = function() io.stdout:write(PROMPT_HELP, "\n") end,
}

--- The commands' names.
M.NAMES = {}
for name in pairs(COMMANDS) do
    M.NAMES[#M.NAMES + 1] = name
end
table.sort(M.NAMES)

--- A function that does what a line asks for, as a chunk of Lua would; nil for a line of Lua.
---@param line string
---@param compile fun(text: string): function?, string?
---@return function?
function M.parse(line, compile)
    local name = line:match "^%s*%?%s*([%w_%.:]*)%s*;?%s*$"
    if name == "" then
        return COMMANDS.help
    elseif name then
        return function()
            io.stdout:write(help.describe(name:gsub("[%.:]+$", ""), _G, host.width()), "\n")
        end
    end
    local command, rest = line:match "^%s*%%(%a*)%s*(.*)$"
    if not command then
        return nil
    end
    return function()
        if not COMMANDS[command] then
            errors.usage("no command %%%s%s", command, options.hint(command, COMMANDS))
        end
        return COMMANDS[command](rest, compile)
    end
end

return M
