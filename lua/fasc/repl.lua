-- repl.lua - the prompt: reads lines until they make a chunk, runs it, prints what it returns and
-- keeps it in _, unless a ; ends it. Lines that begin with ? or % are commands (commands.lua).
-- fasc-bench hands it the editor (src/host/repl.c), which reads lines and makes protected calls.
local commands = require "fasc.commands"
local complete = require "fasc.complete"
local host = require "fasc.host"
local pretty = require "fasc.pretty"
local trial = require "fasc.trial"

local M = {}

local PROMPT, CONTINUED = "fasc> ", "   .. "
local CHUNK_NAME = "=prompt"

--- What fasc-bench offers the prompt.
---@class fasc.LineEditor
---@field terminal boolean a person sits there
---@field read fun(prompt: string, complete: fun(text: string): string, string?): string?, string?
---@field remember fun(line: string)
---@field call fun(f: function): boolean, ...

--- Compiles what was typed so far, as an expression if it is one ("=" before it is allowed too).
---@param text string
---@return function? chunk
---@return string? message why there is none
---@return boolean? incomplete more lines may make it one
function M.compile(text)
    local expression = text:gsub("^%s*=", "")
    local chunk = loadstring("return " .. expression, CHUNK_NAME)
    if chunk then
        return chunk
    end
    local message
    chunk, message = loadstring(text, CHUNK_NAME)
    if chunk then
        return chunk
    end
    return nil, message, message:find("<eof>", 1, true) ~= nil
end

--- Results as the prompt prints them: on one line where each fits on one.
---@param width number
---@return string
function M.show(width, ...)
    local texts, separator = {}, "\t"
    for i = 1, select("#", ...) do
        texts[i] = pretty.format((select(i, ...)), width)
        separator = texts[i]:find("\n", 1, true) and "\n" or separator
    end
    return table.concat(texts, separator)
end

-- Reads one chunk, or a command's line: nil at the end of input, false when it was interrupted or
-- is no Lua; and whether its results are not to be shown.
local function read_chunk(editor)
    local text, chunk, message, incomplete
    local function key(typed)
        return complete.complete(typed, host.width(), _G, text)
    end
    repeat
        local line, why = editor.read(text and CONTINUED or PROMPT, key)
        if why == "interrupted" then
            return false
        elseif not line then
            io.stderr:write(text and message .. "\n" or "")
            return nil
        elseif line:find "%S" then
            editor.remember(line)
        end
        local command = not text and commands.parse(line, M.compile)
        if command then
            return command, line:find ";%s*$" ~= nil
        end
        text = text and text .. "\n" .. line or line
        chunk, message, incomplete = M.compile(text)
    until not incomplete
    if not chunk then
        io.stderr:write(message, "\n")
    end
    return chunk or false, text:find ";%s*$" ~= nil
end

local function show_all(...)
    local text = M.show(host.width() or 80, ...)
    local trials = {text}
    for i = 1, select("#", ...) do
        trials[#trials + 1] = trial.report((select(i, ...)))
    end
    return table.concat(trials, "\n")
end

local function finish(editor, quiet, ok, ...)
    if not ok then
        io.stderr:write((...) or "")
    elseif select("#", ...) > 0 then
        rawset(_G, "_", (...))
        if not quiet then
            -- A __tostring that fails is the user's error as well.
            local values, n = {...}, select("#", ...)
            local shown, text = editor.call(function()
                return show_all(unpack(values, 1, n))
            end)
            local out = shown and io.stdout or io.stderr
            out:write(text or "", shown and "\n" or "")
        end
    end
    io.stdout:flush()
end

local lua_load = load

--- At the prompt: fasc.load for the path of a .safetensors, .npz or .npy (see ?fasc.load), Lua's
--- own load for anything else.
---@param path string
---@param opts fasc.LoadOptions?
---@return table<string, fasc.Tensor>|fasc.Tensor
---@return table<string, string> metadata
local function load_at_prompt(path, opts, ...)
    local kind = type(path) == "string" and (path:match "%.(%w+)$" or ""):lower()
    if kind == "safetensors" or kind == "npz" or kind == "npy" then
        return require("fasc").load(path, opts)
    end
    return lua_load(path, opts, ...)
end

-- fasc as a global, and each of its functions too; Lua's of the same name stay.
local function open_globals()
    local fasc = require "fasc"
    rawset(_G, "fasc", fasc)
    rawset(_G, "load", load_at_prompt)
    setmetatable(_G, {
        __index = function(_, name)
            return rawget(fasc, name)
        end,
        __names = fasc,
    })
end

--- Runs the prompt until its input ends.
---@param editor fasc.LineEditor
function M.run(editor)
    open_globals()
    if editor.terminal then
        print(("fasc %s: ? helps, TAB completes, Ctrl-C stops, Ctrl-D leaves")
            :format(host.version))
    end
    while true do
        local chunk, quiet = read_chunk(editor)
        if chunk then
            finish(editor, quiet, editor.call(chunk))
        elseif chunk == nil then
            return
        end
    end
end

return M
