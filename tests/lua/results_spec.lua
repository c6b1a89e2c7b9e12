-- results_spec.lua - records on disk: one line each, whatever happens around them.
local host = require "fasc.host"
local json = require "fasc.json"
local results = require "fasc.results"
local support = require "support"

local raises = support.raises

describe("records", function()
    local at = support.folder(before_each, after_each)

    it("are appended one line each, and read back", function()
        local path = at "deep/er/r.jsonl"
        for run = 1, 2 do
            local writer = results.open(path)
            writer:append(json.object {{"schema", 1}, {"run", run}, {"x", 0.1}})
            writer:close()
        end
        assert.equal('{"schema":1,"run":1,"x":0.1}\n{"schema":1,"run":2,"x":0.1}\n',
            support.read(path))
        local records, problems = results.read(path)
        assert.equal(2, #records)
        assert.equal(2, records[2].run)
        assert.same({}, problems)
    end)

    it("begin on a new line after one that was cut off", function()
        local path = at "r.jsonl"
        support.write(path, '{"schema":1,"a":1}\n{"schema":1,"a"')
        local writer = results.open(path)
        writer:append {schema = 1, a = 3}
        writer:append {schema = 1, a = 4}
        writer:close()
        local records, problems = results.read(path)
        assert.same({1, 3, 4}, {records[1].a, records[2].a, records[3].a})
        assert.equal(1, #problems)
        assert.matches("r.jsonl:2: json: byte %d+", problems[1])
    end)

    it("that cannot be read are named and left out", function()
        local path = at "r.jsonl"
        support.write(path, table.concat({
            '{"schema":1,"a":1}', "", "garbage", '{"schema":99}', "[1]", '{"a":1}',
            '{"schema":1,"schema":1}', '{"schema":1,"a":2}',
        }, "\n"))
        local records, problems = results.read(path)
        assert.same({1, 2}, {records[1].a, records[2].a})
        assert.equal(2, #records)
        assert.equal(5, #problems)
        for i, text in ipairs {
            ":3: json: byte", ":4: has schema 99; this program reads up to 1", ":5: is no record",
            ":6: is no record", ":7: json: byte",
        } do
            assert.is_truthy(problems[i]:find(text, 1, true), problems[i])
        end
        raises("EIO", "nowhere.jsonl", results.read, at "nowhere.jsonl")
    end)

    it("cannot go where nothing can be written", function()
        support.write(at "file", "")
        raises("EIO", "results: " .. at "file", results.open, at "file/r.jsonl")
        raises("EIO", "Is a directory", results.open, at())
    end)

    it("report a full disk", function()
        local writer = results.open "/dev/full"
        raises("EIO", "/dev/full: No space left on device", writer.append, writer, {schema = 1})
        writer:close()
    end)

    it("of several processes that append to one file stay whole", function()
        local path = at "shared.jsonl"
        local code = ([[
            local w = require "fasc.results".open "%s"
            for i = 1, 300 do
                w:append {schema = 1, who = WHO, i = i, text = ("x"):rep(i * 37 %% 9000)}
            end
        ]]):format(path)
        local commands = {}
        for who = 1, 4 do
            commands[who] = ("%s -e '%s' &"):format(host.executable,
                (code:gsub("WHO", tostring(who)):gsub("\n%s*", " ")))
        end
        os.execute(table.concat(commands, " ") .. " wait")
        local records, problems = results.read(path)
        assert.same({}, problems)
        assert.equal(1200, #records)
        local next_of = {1, 1, 1, 1}
        for _, r in ipairs(records) do
            assert.equal(next_of[r.who], r.i, "each process's records keep their order")
            next_of[r.who] = r.i + 1
        end
    end)
end)
