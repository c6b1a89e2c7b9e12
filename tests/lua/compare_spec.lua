-- compare_spec.lua - two records of the same points: intervals, verdicts and how often they are
-- wrong, pairing, environments.
local bootstrap = require "fasc.bootstrap"
local compare = require "fasc.compare"
local json = require "fasc.json"
local records = require "fasc.records"
local support = require "support"

local at = support.folder(before_each, after_each)

-- ---- synthetic noise ----------------------------------------------------------------------

local function normal()
    return math.sqrt(-2 * math.log(1 - math.random())) * math.cos(2 * math.pi * math.random())
end

-- One number a call, around 1 with a spread of about `s`.
local NOISE = {
    normal = function(s) return function() return 1 + s * normal() end end,
    exponential = function(s) return function() return 1 - s * math.log(1 - math.random()) end end,
    outliers = function(s)
        return function()
            return 1 + 0.3 * s * normal() + (math.random() < 0.1 and 5 * s * math.random() or 0)
        end
    end,
    two_levels = function(s)
        return function() return (math.random() < 0.5 and 1 or 1 + s) + 0.2 * s * normal() end
    end,
    drifting = function(s) -- each sample resembles the one before
        local e = normal()
        return function()
            e = 0.5 * e + math.sqrt(0.75) * normal()
            return 1 + s * e
        end
    end,
}

local function samples(kind, spread, n, factor)
    local draw, list = NOISE[kind](spread), {}
    for i = 1, n do
        list[i] = (factor or 1) * math.max(0.05, draw())
    end
    return list
end

local function verdict_of(a, b)
    return compare.verdict(bootstrap.ratio(a, b), compare.THRESHOLD)
end

describe("the verdict on two measurements", function()
    before_each(function()
        math.randomseed(7)
    end)

    it("of the same thing is faster or slower in less than 2 % of the cases", function()
        local trials, wrong, worst = 0, 0, {}
        for kind in pairs(NOISE) do
            for _, spread in ipairs {0.01, 0.05, 0.2} do
                for _, n in ipairs {5, 8, 20, 60} do
                    for _ = 1, 25 do
                        local v = verdict_of(samples(kind, spread, n), samples(kind, spread, n))
                        trials = trials + 1
                        if v == "faster" or v == "slower" then
                            wrong = wrong + 1
                            worst[#worst + 1] = ("%s %g n=%d"):format(kind, spread, n)
                        end
                    end
                end
            end
        end
        assert.equal(1500, trials)
        assert.is_true(wrong / trials < 0.02, ("%d of %d: %s"):format(wrong, trials,
            table.concat(worst, "; ")))
    end)

    it("finds a change of 5 % in noise of 2 %, and its direction", function()
        local count = {}
        for i = 1, 100 do
            local factor = i % 2 == 0 and 1.05 or 1 / 1.05
            local v = verdict_of(samples("normal", 0.02, 30), samples("normal", 0.02, 30, factor))
            assert.is_true(v ~= (factor > 1 and "faster" or "slower"), v)
            count[v] = (count[v] or 0) + 1
        end
        assert.is_true((count.slower or 0) + (count.faster or 0) >= 95)
    end)

    it("is same where both are known well, unclear where they are not", function()
        assert.equal("same", verdict_of(samples("normal", 0.005, 50), samples("normal", 0.005, 50)))
        assert.equal("unclear", verdict_of(samples("normal", 0.5, 10), samples("normal", 0.5, 10)))
        assert.equal("unclear", verdict_of({1, 1, 1}, {2, 2, 2}), "too few to tell")
        assert.equal("slower", verdict_of({1, 1, 1, 1, 1}, {2, 2, 2, 2, 2}))
    end)

    it("leaves changes below the threshold alone", function()
        local r = {ratio = 1.03, low = 1.02, high = 1.04}
        assert.equal("slower", compare.verdict(r, 0.02))
        assert.equal("same", compare.verdict(r, 0.05))
        assert.equal("faster", compare.verdict({ratio = 0.9, low = 0.88, high = 0.95}, 0.02))
        assert.equal("unclear", compare.verdict({ratio = 1.03, low = 0.99, high = 1.1}, 0.02))
    end)
end)

describe("the interval of a ratio", function()
    it("holds the true ratio nearly always", function()
        math.randomseed(11)
        local outside = 0
        for _ = 1, 200 do
            local r = bootstrap.ratio(samples("normal", 0.05, 25), samples("normal", 0.05, 25, 1.2))
            outside = outside + ((r.low > 1.2 or r.high < 1.2) and 1 or 0)
            assert.is_true(r.low <= r.ratio and r.ratio <= r.high)
        end
        assert.is_true(outside <= 6, outside .. " of 200")
    end)

    it("is the same each time, for the same samples", function()
        math.randomseed(3)
        local a, b = samples("normal", 0.05, 20), samples("normal", 0.05, 20)
        assert.same(bootstrap.ratio(a, b), bootstrap.ratio(a, b))
    end)

    it("of ratios measured in turns cancels what both share", function()
        math.randomseed(5)
        local ratios = {}
        for i = 1, 40 do
            ratios[i] = 1.01 * (1 + 0.001 * normal())
        end
        local r = bootstrap.of_ratios(ratios)
        assert.is_true(r.low > 1.005 and r.high < 1.015, ("%g to %g"):format(r.low, r.high))
    end)

    it("comes from the standard errors where there are no samples", function()
        local r = bootstrap.from_errors({median = 1, rse = 0.01}, {median = 1.2, rse = 0})
        assert.near(1.2, r.ratio, 1e-12)
        assert.near(1.2 * math.exp(0.02576), r.high, 1e-9)
        assert.equal(math.huge, bootstrap.from_errors({median = 1, rse = math.huge},
            {median = 1, rse = 0}).high)
    end)
end)

-- ---- records ------------------------------------------------------------------------------

local function record(size, seconds, changes)
    local r = json.object {
        {"schema", 1}, {"sweep", "s"}, {"status", "ok"},
        {"point", json.object {{"cache", "hot"}, {"size", size}}},
        {"options", json.object {{"heads", 8}}},
        {"environment", json.object {{"fasc", json.object {{"commit", "aaa"}}},
            {"device", json.object {{"name", "cpu"}}}, {"command", json.array {"x"}}}},
    }
    if seconds then
        r.timing = json.object {{"n", 6}, {"median", seconds}, {"rse", 0.001}}
        r.samples = json.array()
        for i = 1, 6 do
            r.samples[i] = seconds * (1 + 0.001 * (i - 3.5))
        end
    end
    for name, value in pairs(changes or {}) do
        r[name] = value
    end
    return r
end

local function write(name, list)
    local file = assert(io.open(at(name), "w"))
    for _, r in ipairs(list) do
        file:write(type(r) == "string" and r or json.encode(r), "\n")
    end
    file:close()
    return records.load(at(name))
end

describe("two records", function()
    it("are paired by their points, and verdicts counted", function()
        local a = write("a", {record(1, 1), record(2, 1), record(3, 1), record(4, 1), record(5)})
        local b = write("b", {record(4, 1.2), record(1, 1), record(2, 0.8), record(6, 1),
            record(5, 1)})
        local c = compare.sets(a, b)
        local verdicts = {}
        for _, point in ipairs(c.points) do
            verdicts[point.label] = point.verdict
        end
        assert.same({["size=1"] = "same", ["size=2"] = "faster", ["size=4"] = "slower",
            ["size=5"] = "no time"}, verdicts)
        assert.same({"size=3"}, c.only_a)
        assert.same({"size=6"}, c.only_b)
        assert.equal(1, c.count.slower)
        assert.same({}, c.environment)
    end)

    it("tell of a point that fails now, or no longer", function()
        local a = write("a", {record(1, 1), record(2, nil, {status = "crashed"})})
        local b = write("b", {record(1, nil, {status = "wrong"}), record(2, 1)})
        local c = compare.sets(a, b)
        assert.equal("broken", c.points[1].verdict)
        assert.is_true(compare.is_regression(c.points[1]))
        assert.equal("mended", c.points[2].verdict)
        assert.is_false(compare.is_regression(c.points[2]))
    end)

    it("may have an axis more, with one value", function()
        local a = write("a", {record(1, 1)})
        local with = record(1, 1)
        with.point = json.object {{"cache", "hot"}, {"launch", "queued"}, {"size", 1}}
        assert.equal("same", compare.sets(a, write("b", {with})).points[1].verdict)
        local other = record(1, 1)
        other.point = json.object {{"cache", "hot"}, {"launch", "graph"}, {"size", 1}}
        support.raises("EINVAL", "has 2 values of launch", function()
            compare.sets(a, write("b", {with, other}))
        end)
    end)

    it("without samples are compared by their standard errors", function()
        local old = record(1, 1)
        old.samples = nil
        local c = compare.sets(write("a", {old}), write("b", {record(1, 1.5)}))
        assert.equal("slower", c.points[1].verdict)
    end)

    it("without a point in common are no comparison", function()
        support.raises("EINVAL", "no point in common", function()
            compare.sets(write("a", {record(1, 1)}), write("b", {record(2, 1)}))
        end)
    end)

    it("show where their environments differ, but for what differs each time", function()
        local changed = record(1, 1, {environment = json.object {
            {"fasc", json.object {{"commit", "bbb"}}},
            {"device", json.object {{"name", "cpu"}, {"driver", "1.2"}}},
            {"command", json.array {"y"}},
        }})
        local c = compare.sets(write("a", {record(1, 1)}), write("b", {changed}))
        assert.same({{"fasc.commit", "aaa", "bbb"}, {"device.driver", "-", "1.2"}}, c.environment)
    end)
end)

describe("a file of records", function()
    it("gives the newest record of each point, and names lines it cannot read", function()
        local set = write("a", {record(1, 1), "{broken", record(2, 1), record(1, 3),
            json.object {{"schema", 1}, {"sweep", "s"}, {"status", "summary"}}})
        assert.equal(2, #set.records)
        assert.equal(3, set.records[1].timing.median)
        assert.equal(1, set.repeated)
        assert.equal(1, #set.summaries)
        assert.matches(":2: json: ", set.problems[1])
        local varying, fixed = records.varying(set)
        assert.same({"size"}, varying)
        assert.equal("cache hot, heads 8", fixed)
    end)

    it("without a point is an error", function()
        support.raises("EFORMAT", "holds no record of a point", function()
            write("a", {"nonsense"})
        end)
    end)
end)
