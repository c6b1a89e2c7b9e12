-- tune_spec.lua - fasc.tune searches what can serve, checks the winner, and later calls use what
-- was kept and say so.
local fasc = require "fasc"
local json = require "fasc.json"
local support = require "support"
local tuned = require "fasc.tuned"

local fails = support.fails
local at = support.folder(setup, teardown)

if not support.is_cpu then -- a GPU's configurations are compiled, one after another
    describe("fasc.tune", function()
        pending "on a GPU takes minutes: tests/gpu/tune.lua does it"
    end)
    return
end

local q, k, v

setup(function()
    q, k, v = support.qkv({1, 4, 2, 96, 160, 64}, "f32")
end)

-- The user's file is not what these tests use, nor may they change it.
local real_path = tuned.path
before_each(function()
    tuned.path = function() return at "config/fasc/tuned.json" end
    tuned.reload()
end)
after_each(function()
    tuned.path = real_path
    tuned.ignore()
end)

local function quick(more)
    local opts = {max_seconds = 0.001, kernels = {"flash"}, want = {"out", "lse"}, causal = true}
    for name, value in pairs(more or {}) do
        opts[name] = value
    end
    return fasc.tune(q, k, v, opts)
end

local function call(more)
    local opts = {want = {"out", "lse"}, causal = true}
    for name, value in pairs(more or {}) do
        opts[name] = value
    end
    return fasc.attention(q, k, v, opts)
end

describe("fasc.tune", function()
    it("times every configuration that can serve, once", function()
        local t, seen, default = quick(), {}, 0
        assert.is_true(#t.rows > 3)
        for i, row in ipairs(t.rows) do
            local label = row.plan.arch .. row.plan.config
            assert.is_nil(seen[label])
            seen[label] = true
            assert.equal("flash", row.plan.kernel)
            assert.is_true(i == 1 or not row.time or row.time >= t.rows[i - 1].time)
            default = default + (row == t.default and 1 or 0)
        end
        assert.equal(1, default)
        assert.equal(fasc.plan(q, k, v, {causal = true, want = {"out", "lse"}}).config,
            t.default.plan.config)
        assert.near(1, t.default.share, 1e-9)
        local text = tostring(t)
        assert.matches("the library's choice", text)
        assert.matches("\n%d+ configurations were timed\n", text)
    end)

    it("searches the kernels that are named, and says what is wrong", function()
        local t = quick {kernels = {"naive", "blas"}}
        for _, row in ipairs(t.rows) do
            assert.is_true(row.plan.kernel ~= "flash" or row == t.default)
        end
        fails("EINVAL", function() quick {kernels = {"flahs"}} end,
            "tune: kernels: no kernel 'flahs'; did you mean 'flash'?")
        fails("EINVAL", function() quick {kernel = "flash"} end, "tune: unknown option 'kernel'")
        fails("EINVAL", function() quick {casual = true} end, "did you mean 'causal'?")
    end)
end)

describe("a configuration that was kept", function()
    local t

    setup(function()
        t = quick()
    end)

    -- As if this had won, whatever the clock says.
    local function keep(config)
        t.best = {config = config, share = 0.5, time = 1e-3}
        assert.equal(at "config/fasc/tuned.json", t:save())
    end

    local function other_config()
        for _, row in ipairs(t.rows) do
            if row ~= t.default then
                return row.config
            end
        end
    end

    it("serves later calls of its kind, which say so, and no others", function()
        local before = call()
        local config = other_config()
        keep(config)
        tuned.reload() -- as another process would see it
        local r = call()
        assert.equal(config.block_m, r.plan.block_m)
        assert.equal(config.block_n, r.plan.block_n)
        assert.matches("^tuned: 0%.50 of the library's choice's time %(.*tuned%.json%)$",
            r.plan.reason)
        local plan = fasc.plan(q, k, v, {causal = true, want = {"out", "lse"}})
        assert.equal(r.plan.config, plan.config)
        support.agrees(fasc.check(q, k, v, r))
        for _, other in ipairs {call {causal = false}, call {want = "out"}, call {kernel = "flash"},
            call {window = {3, 3}}} do
            assert.is_nil(other.plan.reason:find "tuned")
        end
        assert.equal(before.plan.config, call({kernel = "flash"}).plan.config)
    end)

    it("that cannot serve leaves the choice to the library, and is named", function()
        keep {name = "flash", block_m = 7}
        local r = call()
        assert.matches("tuned%.json has for such a problem cannot serve this one$", r.plan.reason)
        support.agrees(fasc.check(q, k, v, r))
    end)

    it("is kept beside others", function()
        keep {name = "naive"}
        local other = quick {causal = false, kernels = {"blas"}}
        other.best = {config = {name = "naive"}, share = 0.9, time = 1}
        other:save()
        local file = assert(io.open(at "config/fasc/tuned.json"))
        local stored = json.decode(file:read "*a")
        file:close()
        assert.equal(2, #json.keys(stored.entries))
        assert.equal("naive", call().plan.kernel)
        assert.equal("naive", call({causal = false}).plan.kernel)
    end)
end)
