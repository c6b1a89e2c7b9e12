-- heat_spec.lua - maps in the terminal: which cells have which colours, what is pooled and what is
-- said of it.
local fasc = require "fasc"
local support = require "support"

local fails = support.fails

-- The cells of a drawing as "r;g;b" texts, by rows.
local function cells_of(heat)
    local rows = {}
    for _, line in ipairs(heat.lines) do
        local upper, lower, fore, back = {}, {}, nil, nil
        for escapes, block in line:gmatch "([\27%[%d;m]*)(\226\150\128)" do
            fore = escapes:match "38;2;([%d;]+)m" or fore
            back = escapes:match "48;2;([%d;]+)m" or (escapes:find "%[49m" and "none") or back
            assert(block)
            upper[#upper + 1], lower[#lower + 1] = fore, back
        end
        rows[#rows + 1] = upper
        rows[#rows + 1] = lower[1] ~= "none" and lower or nil
    end
    return rows
end

local LOW, HIGH, MASKED, NAN = "68;1;84", "253;231;37", "180;180;180", "255;0;255"

describe("fasc.heat", function()
    it("has a colour for each element, two rows in a line", function()
        local t = support.from_table {{0, 1, 0}, {1, 0, 1}, {0, 0, 1}}
        local heat = fasc.heat(t, {scale = "linear"})
        assert.same({{LOW, HIGH, LOW}, {HIGH, LOW, HIGH}, {LOW, LOW, HIGH}}, cells_of(heat))
        assert.equal("3 x 3, linear 0 to 1", heat.caption)
        assert.equal(table.concat(heat.lines, "\n") .. "\n" .. heat.caption, tostring(heat))
    end)

    it("shows masked and NaN elements as what they are", function()
        local t = support.from_table {{1, -math.huge}, {0 / 0, 2}}
        local heat = fasc.heat(t)
        assert.same({{LOW, MASKED}, {NAN, HIGH}}, cells_of(heat))
        assert.equal("2 x 2, linear 1 to 2, 1 NaN", heat.caption)
        assert.same({{HIGH, MASKED}, {HIGH, HIGH}},
            cells_of(fasc.heat(support.ones {2, 2}, {causal = true, scale = "log"})))
        local nothing = fasc.heat(support.from_table {{-math.huge, 0 / 0}})
        assert.same({{MASKED, NAN}}, cells_of(nothing))
    end)

    it("pools what does not fit, keeping the largest", function()
        local t = support.zeros {1000, 500}
        t:slice(777, 333):fill(1)
        local heat = fasc.heat(t, {width = 50, height = 10})
        local rows = cells_of(heat)
        assert.same({20, 50}, {#rows, #rows[1]})
        local hot = 0
        for i, row in ipairs(rows) do
            for j, cell in ipairs(row) do
                hot = hot + (cell == HIGH and 1 or 0)
                assert.equal(i == 16 and j == 34 and HIGH or LOW, cell)
            end
        end
        assert.equal(1, hot)
        assert.equal("1000 x 500, a cell is the max of 50 x 10, log 0.0001 to 1", heat.caption)
    end)

    it("takes the first matrix of more, and says which", function()
        local t = support.zeros {2, 3, 4, 5}
        t:slice(0, 0):fill(1)
        local heat = fasc.heat(t, {scale = "linear", map = "diverging"})
        assert.equal("4 x 5, [0,0] of it, linear -1 to 1", heat.caption)
        assert.equal("1 x 4, linear 2 to 2", fasc.heat(support.ones({4}):fill(2)).caption)
    end)

    it("says what it cannot draw", function()
        fails("EINVAL", function() fasc.heat(support.zeros {0, 3}) end, "heat: t: ", "elements")
        fails("EINVAL", function() fasc.heat(3) end, "heat: t: must be a tensor")
        fails("EINVAL", function() fasc.heat(support.zeros {2, 2}, {scle = "log"}) end,
            "did you mean 'scale'?")
    end)
end)
