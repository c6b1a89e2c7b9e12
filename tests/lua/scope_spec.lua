-- scope_spec.lua - fasc.scope frees what a function made, except what it returns.
local fasc = require "fasc"
local support = require "support"

local function is_freed(t)
    return tostring(t):find("(freed)", 1, true) ~= nil
end

local function live()
    return support.device:memory().live
end

describe("scope", function()
    it("frees what its function made and gives back what it returns", function()
        local inner
        local kept, number = fasc.scope(function(x)
            inner = support.zeros({10})
            return inner:to("f16"), x
        end, 42)
        assert.is_true(is_freed(inner))
        assert.is_false(is_freed(kept))
        assert.equal(42, number)
        support.near(kept, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)
    end)

    it("gives the memory back at its end", function()
        collectgarbage()
        local before = live()
        fasc.scope(function()
            support.zeros({1000, 1000})
            assert.is_true(live() >= before + 4e6)
        end)
        assert.equal(before, live())
    end)

    it("keeps tensors inside returned tables, whatever their depth", function()
        local r = fasc.scope(function()
            local t = support.ones({2})
            local cycle = {deep = {t = t}}
            cycle.itself = cycle
            return cycle, nil, {support.zeros({1})}
        end)
        assert.is_false(is_freed(r.deep.t))
        assert.equal(2, r.deep.t:sum())
    end)

    it("keeps the tensors of a returned attention result", function()
        local q, k, v = support.qkv({1, 1, 1, 4, 4, 8}, "f32")
        local r = fasc.scope(function()
            return fasc.attention(q, k, v, {want = {"out", "lse"}})
        end)
        assert.is_false(is_freed(r.out) or is_freed(r.lse))
        assert.is_false(is_freed(q))
    end)

    it("passes a view on without its base", function()
        local view = fasc.scope(function()
            return support.from_table({1, 2, 3}):slice({1, 3})
        end)
        support.near(view, {2, 3}, 0)
    end)

    it("nests: what an inner scope returns belongs to the outer one", function()
        local inner
        fasc.scope(function()
            inner = fasc.scope(function()
                return support.zeros({3})
            end)
            assert.is_false(is_freed(inner))
        end)
        assert.is_true(is_freed(inner))
    end)

    it("leaves tensors made before it alone", function()
        local t = support.ones({2})
        local same = fasc.scope(function()
            return t
        end)
        assert.equal(t, same)
        fasc.scope(function() end)
        assert.equal(2, t:sum())
    end)

    it("frees on errors too, and passes them on as they are", function()
        local inner
        local problem = {}
        local ok, err = pcall(fasc.scope, function()
            inner = support.zeros({3})
            error(problem)
        end)
        assert.is_false(ok)
        assert.equal(problem, err)
        assert.is_true(is_freed(inner))
        local outside = support.zeros({1})
        assert.is_false(is_freed(outside))
    end)

    it("lets tensors be freed or collected inside of it", function()
        fasc.scope(function()
            support.zeros({3}):free()
            for _ = 1, 100 do
                support.zeros({100, 100})
            end
            collectgarbage()
            assert.is_true(live() < 50 * 40000 + support.device:memory().live)
        end)
    end)

    it("takes functions only", function()
        support.fails("EINVAL", function() fasc.scope(3) end, "scope: fn", "must be a function")
    end)
end)
