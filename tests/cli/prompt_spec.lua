-- The prompt at a terminal, driven through tmux as a person would.
local shell = require "tests.cli.shell"

local state = os.tmpname()
os.remove(state)
local screen = {socket = "fasc-test-" .. state:match "[^/]*$", opened = 0}

local function tmux(...)
    local words = {"LC_ALL=C.UTF-8 tmux -u -f /dev/null -L", screen.socket .. screen.opened}
    for i = 1, select("#", ...) do
        words[#words + 1] = shell.quote((select(i, ...)))
    end
    return shell.sh(table.concat(words, " "))
end

-- Opens a terminal with a prompt in it, whose state lies in the folder (default: one for these
-- tests); `done` is printed when it has ended.
function screen.open(folder)
    screen.opened = screen.opened + 1 -- each its own server: the last one may still be ending
    local command = ("XDG_STATE_HOME=%s %s; echo done $?; sleep 20"):format(folder or state,
        shell.command())
    local result = tmux("new-session", "-d", "-x", "80", "-y", "50", command)
    assert.equal(0, result.code, result.err)
    screen.wait "fasc>$"
end

function screen.close()
    tmux "kill-server"
end

-- Types text, or presses keys by their names: type("x = 1", "Enter") takes text, then keys.
function screen.type(text, ...)
    tmux("send-keys", "-l", (text:gsub(";$", "\\;"))) -- a ; at the end is tmux's own
    for i = 1, select("#", ...) do
        tmux("send-keys", (select(i, ...)))
    end
end

function screen.text()
    return (tmux("capture-pane", "-p", "-J").out:gsub(" +\n", "\n"):gsub("%s+$", ""))
end

-- Waits until the screen shows the pattern; half a minute is taken for never.
function screen.wait(pattern)
    local text
    for _ = 1, 300 do
        text = screen.text()
        if text:find(pattern) then
            return text
        end
        shell.sh "sleep 0.1"
    end
    error("no '" .. pattern .. "' on the screen:\n" .. text, 2)
end

-- Types a line and waits for what follows it, up to the next prompt.
function screen.line(text, pattern)
    screen.type(text, "Enter")
    return screen.wait((pattern or "") .. "[^\n]*\nfasc>$")
end

-- Drops what was typed. The terminal forgets its input at Ctrl-C, so typing waits for the prompt.
function screen.clear()
    screen.type("", "C-c")
    screen.wait "\nfasc>$"
end

if not shell.has "tmux" then
    describe("the prompt at a terminal", function()
        pending "needs tmux"
    end)
    return
end

describe("the prompt at a terminal", function()
    before_each(function()
        screen.open()
    end)
    after_each(screen.close)
    teardown(function()
        shell.sh("rm -rf " .. state)
    end)

    it("greets, shows results, and marks lines that continue a chunk", function()
        assert.truthy(screen.text():find "^fasc %d+%.%d+%.%d+: ")
        screen.line("1 + 1", "\n2")
        screen.type("for i = 1, 2 do", "Enter")
        screen.wait "\n   %.%.$"
        screen.type("print('row', i)", "Enter")
        screen.line("end", "\nrow\t? *1\nrow\t? *2")
    end)

    it("completes a name with TAB, and lists names where several fit", function()
        screen.type("fasc.compute_att", "Tab")
        screen.wait "fasc%.compute_attention_scores%($"
        screen.clear()
        screen.type("string.", "Tab")
        screen.wait "byte +dump .*\nfasc> string%.$"
        screen.type("le", "Tab")
        screen.wait "fasc> string%.len%($"
    end)

    it("completes tensor methods after a colon, and fields after a dot", function()
        screen.line("t = zeros({2, 2}, {device = 'cpu'})")
        screen.type("t:transp", "Tab")
        screen.wait "fasc> t:transpose%($"
        screen.clear()
        screen.type("t.sha", "Tab")
        screen.wait "fasc> t%.shape$"
    end)

    it("completes the names of options inside a call's table, and their values", function()
        screen.type("attention(q, k, v, {cau", "Tab")
        screen.wait "{causal =$"
        screen.type("true, sm_s", "Tab")
        screen.wait "causal = true, sm_scale =$"
        screen.type("1, kernel = {block", "Tab")
        screen.wait "kernel = {block_$"
        screen.type("", "Tab")
        screen.wait "\nblock_m +block_n\nfasc> .*kernel = {block_$"
        screen.clear()
        screen.type("heatmap(t, {scale = 'lo", "Tab")
        screen.wait "{scale = 'log'$"
        screen.type(", pool = \"ma", "Tab", "Tab")
        screen.wait "\nmass +max\nfasc> .*pool = \"ma$"
        screen.clear()
        screen.type("attention(q, k, v, {want = {\"row_ma", "Tab")
        screen.wait "{want = {\"row_max\"$"
    end)

    it("completes the tensors of an open file, the keys of a table, and paths", function()
        screen.line "f = open 'tests/data/gpt-d64-layer3-n128.qkv.safetensors';"
        screen.type("f:read \"lay", "Tab")
        screen.wait "f:read \"layers%.3%.$"
        screen.type("q", "Tab", "Enter")
        screen.wait "f:read \"layers%.3%.q\"\ntensor%[1,8,128,64%] bf16 cpu"
        screen.line "t = load(f.path);"
        screen.type("t[\"tok", "Tab")
        screen.wait "t%[\"tokens\"$"
        screen.clear()
        screen.type("load('tests/dat", "Tab")
        screen.wait "load%('tests/data/$"
        screen.type("gpt-d64-layer3-n128.q", "Tab")
        screen.wait "gpt%-d64%-layer3%-n128%.qkv%.safetensors'$"
        screen.type(", {names = {'layers.3.v", "Tab")
        screen.wait "{names = {'layers%.3%.v'$"
    end)

    it("completes over the lines of a chunk", function()
        screen.type("attention(q, k, v, {", "Enter")
        screen.wait "%.%.$"
        screen.type("causal = true, dropo", "Tab")
        screen.wait "causal = true, dropout_p =$"
    end)

    it("helps with ?name, and completes what is asked for", function()
        screen.type("?manual_se", "Tab", "Enter")
        screen.wait "fasc> %?manual_seed\nfasc%.manual_seed%([%w_]+%)\n\n.*random%.lua:%d+\nfasc>$"
        screen.line("?zeros", "\nA tensor of zeros%..*\nshape.*number%[%].*create%.lua:%d+")
    end)

    it("keeps the last value in _, and shows nothing after ;", function()
        screen.line("6 * 7", "\n42")
        screen.line("_ / 2", "\n21")
        screen.line("'un' .. 'seen';", ";")
        assert.is_nil(screen.text():find "\nunseen")
        screen.line("_ .. '!'", "\nunseen!")
    end)

    it("draws a map with half blocks in 24-bit colour", function()
        screen.line "t = full({4, 6}, 0, {device = 'cpu'}); t:slice({0, 2}):fill(1)"
        screen.type("heat(t, {scale = 'linear'})", "Enter")
        screen.wait "\n▀▀▀▀▀▀\n▀▀▀▀▀▀\n4 x 6, linear 0 to 1\nfasc>$"
        local colours = tmux("capture-pane", "-p", "-e").out
        assert.truthy(colours:find("38;2;253;231;37", 1, true)) -- viridis' last colour
        assert.truthy(colours:find("48;2;68;1;84", 1, true)) -- and its first
    end)

    it("runs a script that ends with an exit status, and goes on", function()
        screen.line "x = 5"
        screen.type("%run check tests/data/gpt-d64-layer3-n128.qkv.safetensors --kernel naive",
            "Enter")
        screen.wait "\nall agree\nfasc>$"
        screen.line("x + 1", "\n6")
    end)

    it("stops a running kernel in %bench on Ctrl-C, and computes afterwards", function()
        screen.line "q = randn({1, 8, 16384, 128}, {device = 'cpu'});"
        screen.type("%bench attention(q, q, q, {kernel = 'naive'})", "Enter")
        shell.sh "sleep 1"
        screen.type("", "C-c")
        screen.wait "interrupted\nfasc>$"
        screen.line("2 + 3", "\n5")
    end)

    it("stops a search for configurations on Ctrl-C, and can search again", function()
        screen.line "q = randn({1, 2, 256, 32}, {device = 'cpu'});"
        screen.type("tune(q, q, q, {max_seconds = 100})", "Enter")
        screen.wait "tune: 1 of %d+: "
        screen.type("", "C-c")
        screen.wait "interrupted\nfasc>$"
        screen.type("tune(q, q, q, {kernels = {'blas'}, max_seconds = 0})", "Enter")
        screen.wait "\nkernel +configuration .*\nfasc>$"
    end)

    it("finds lines of the history by a part of them, with Up and with Ctrl-R", function()
        screen.line "alpha = 1"
        screen.line "beta = 2"
        screen.line "print(alpha + beta)"
        screen.type("a =", "Up", "Up")
        screen.wait "fasc> alpha = 1$" -- beta = 2 comes first
        screen.clear()
        screen.type("", "C-r")
        screen.type "ta = 2"
        screen.wait "beta = 2"
        screen.type("", "Enter")
        screen.wait "beta = 2\nfasc>$"
        screen.line("beta", "\n2")
    end)

    it("stops a running loop on Ctrl-C, keeps the state and runs on", function()
        screen.line "x = 17"
        screen.type("print('run' .. 'ning') while true do end", "Enter")
        screen.wait "\nrunning$"
        screen.type("", "C-c")
        screen.wait "interrupted\nfasc>$"
        screen.line("x + 1", "\n18")
    end)

    it("stops a running kernel on Ctrl-C, and computes afterwards", function()
        screen.line "q = randn({1, 8, 16384, 128}, {device = 'cpu'})"
        screen.type("print('run' .. 'ning') "
            .. "while true do attention(q, q, q, {kernel = 'naive'}) end", "Enter")
        screen.wait "\nrunning$"
        screen.type("", "C-c")
        screen.wait "interrupted\nfasc>$"
        screen.line("zeros({3}, {device = 'cpu'}):sum()", "\n0")
    end)

    it("clears the line, or the chunk begun, on Ctrl-C", function()
        screen.type "garbage"
        screen.wait "garbage$"
        screen.type("", "C-c")
        screen.wait "garbage *\nfasc>$"
        screen.type("for i = 1, 3 do", "Enter")
        screen.wait "%.%.$"
        screen.type("", "C-c")
        screen.wait "\nfasc>$"
        screen.line("5 * 5", "\n25")
    end)

    it("tells an error and goes on", function()
        screen.line("nothing.at.all", "attempt to index global 'nothing' %(a nil value%)\n"
            .. "    prompt:1: in main chunk")
        screen.line("'still here'", "\nstill here")
    end)

    it("takes UTF-8", function()
        screen.line("'größer' .. ' → '", "\ngrößer →")
    end)

    it("leaves on Ctrl-D with status 0", function()
        screen.type("", "C-d")
        screen.wait "\ndone 0$"
    end)

    it("says when it cannot keep a history, and works", function()
        screen.close()
        screen.open "/dev/null"
        screen.line("2 + 2", "no history is kept: /dev/null/fasc/history: Not a directory.*\n4")
    end)

    it("has the lines of the last run in its history", function()
        screen.line("remembered = 123")
        screen.type("", "C-d")
        screen.wait "done 0"
        screen.close()
        screen.open()
        screen.type("", "Up")
        screen.wait "fasc> remembered = 123$"
        screen.type("", "Enter")
        screen.line("remembered + 1", "\n124")
        assert.equal("600\n", shell.sh("stat -c %a " .. state .. "/fasc/history").out)
    end)
end)
