-- verify_spec.lua - checks of operations find what is wrong, wherever it is.
local fasc = require "fasc"
local layers = require "fasc.layers"
local support = require "support"
local verify = require "fasc.verify"

local raises = support.raises

local function attention(opts, p)
    local q, k, v = support.qkv(p or {1, 4, 2, 96, 96, 32}, "f32", 7)
    local op = fasc.op.attention(q, k, v, opts)
    op:run()
    return op
end

describe("a check of attention", function()
    local full_work = verify.FULL_WORK

    after_each(function()
        verify.FULL_WORK = full_work
    end)

    it("compares every row of small problems with the reference", function()
        local verdict = attention({causal = true, kernel = "naive", want = {"out", "lse"}}):check()
        assert.equal(0, verdict.failed)
        assert.equal(4 * 96, verdict.rows)
        assert.is_true(verdict.share > 0 and verdict.share <= 1)
        assert.equal("every row with the reference", verdict.method)
        assert.equal("out", verdict.outputs[1].name)
        assert.equal("lse", verdict.outputs[2].name)
    end)

    it("names the worst element of a wrong result", function()
        local op = attention {kernel = "naive", want = {"out", "probs"}}
        op.outputs.probs:slice(0, 2, 5, 17):fill(0.5)
        local verdict = op:check()
        assert.equal(1, verdict.failed)
        assert.is_true(verdict.share > 1)
        assert.is_truthy(verdict.message:find("probs: 1 of ", 1, true), verdict.message)
        assert.is_truthy(verdict.message:find("[0,2,5,17]", 1, true), verdict.message)
    end)

    it("of large problems sees wrong elements between the rows that it compares", function()
        verify.FULL_WORK = 0
        local problem = {1, 1, 1, 1024, 64, 16}
        local op = attention({kernel = "naive", want = {"out", "masked"}, causal = true}, problem)
        local verdict = op:check()
        assert.equal(0, verdict.failed, verdict.message)
        assert.is_true(verdict.rows < 1024, "fewer rows than all")
        local other = verdict.method:match(
            "^%d+ of 1024 rows with the reference, and all of it with kernel (%a+)$")
        assert.is_truthy(other and other ~= "naive" and other ~= "reference", verdict.method)

        -- A row that is compared with the other kernel alone.
        local found = 0
        for row = 0, 1023, 93 do
            local out = op.outputs.out:slice(0, 0, row, 3)
            local before = out:tolist()
            out:fill(before + 1)
            found = found + (op:check().failed > 0 and 1 or 0)
            out:fill(before)
        end
        assert.equal(12, found)
        assert.equal(0, op:check().failed)

        op.outputs.masked:slice(0, 0, 500, 10):fill(0 / 0)
        local nan = op:check()
        assert.is_true(nan.failed > 0)
    end)
end)

describe("a check of a matrix product", function()
    it("compares with float64", function()
        local op = fasc.op.matmul(support.randn {33, 17}, support.randn {17, 5}, {alpha = 2})
        op:run()
        assert.equal(0, op:check().failed)
        op.outputs.out:slice(3, 4):fill(1e3)
        local verdict = op:check()
        assert.equal(1, verdict.failed)
        assert.matches("max |x %- ref| ", verdict.message)
    end)
end)

describe("a check of zeros", function()
    it("has no error", function()
        local zeros = support.zeros {8, 8}
        local op = fasc.op.matmul(zeros, zeros)
        op:run()
        assert.equal(0, op:check().share)
        assert.equal(0, op:check().failed)
        local q = support.zeros {1, 1, 8, 16}
        op = fasc.op.attention(q, q, q, {kernel = "naive", want = {"out", "logits", "lse"}})
        op:run()
        assert.equal(0, op:check().failed)
    end)
end)

describe("a comparison with stored values", function()
    local values = {}
    for i = 1, 50 do
        values[i] = {}
        for j = 1, 40 do
            values[i][j] = math.sin(40 * i + j) * 2 ^ (j % 7)
        end
    end
    local reference = fasc.from_table(values, {dtype = "f64", device = "cpu"})

    it("allows the rounding to the stored dtype and no more", function()
        for dtype, step in pairs {f32 = 2^-23, f16 = 2^-10, bf16 = 2^-7} do
            local stored = reference:to(dtype)
            local good = verify.stored(reference, stored)
            assert.equal(0, good.failed, dtype)
            assert.is_true(good.share > 0.9 and good.share <= 1, dtype .. " " .. good.share)
            local one = stored:slice(7, 7)
            one:fill(one:tolist() * (1 + 3 * step))
            local bad = verify.stored(reference, stored)
            assert.equal(1, bad.failed, dtype)
            assert.is_true(bad.share > 1.4, dtype .. " " .. bad.share)
        end
    end)

    it("takes equal infinities as equal, and subnormals by their step", function()
        local r = fasc.from_table({-math.huge, math.huge, 1e-7, 0}, {dtype = "f64", device = "cpu"})
        assert.equal(0, verify.stored(r, r:to "f16").failed)
        local s = fasc.from_table({math.huge, 1, 2e-7, 0}, {dtype = "f16", device = "cpu"})
        local bad = verify.stored(r, s)
        assert.equal(3, bad.failed)
        assert.equal(math.huge, bad.share)
    end)

    it("refuses another shape", function()
        raises("EINVAL", "expected values have shape 4, the result has 50x40", verify.stored,
            reference, fasc.zeros({4}, {device = "cpu"}))
    end)
end)

describe("layers of a file", function()
    local at = support.folder(setup, teardown)

    local function file_of(names)
        local t, tensors = fasc.zeros({1}, {device = "cpu"}), {}
        for i, name in ipairs(names) do
            tensors[name] = t:clone():fill(i)
        end
        fasc.save(at "x.npz", tensors)
        return fasc.open(at "x.npz")
    end

    it("are found by name, in the order of their numbers, and read one by one", function()
        local names = {"tokens"}
        for _, name in ipairs {"layers.10", "layers.9", "layers.100"} do
            for _, part in ipairs {"q", "k", "v", "out"} do
                names[#names + 1] = name .. "." .. part
            end
        end
        local found = layers.find(file_of(names))
        assert.equal(3, #found)
        assert.same({"layers.9", "layers.10", "layers.100"},
            {found[1].name, found[2].name, found[3].name})
        local q, k, v = found[1]:read {dtype = "f64"}
        assert.same({"f64", 6, 7, 8}, {q.dtype, q:item(), k:item(), v:item()})
    end)

    it("are refused where a part is missing", function()
        raises("EFORMAT", "x.npz: has layers.9.q, but no layers.9.v", layers.find,
            file_of {"layers.9.q", "layers.9.k", "layers.10.v"})
        raises("EFORMAT", "has no tensor named LAYER.q", layers.find, file_of {})
    end)
end)
