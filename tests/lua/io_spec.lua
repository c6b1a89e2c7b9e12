-- io_spec.lua - tensors in files: fasc.load, fasc.open, fasc.save.
local fasc = require "fasc"
local support = require "support"

local fails = support.fails
local at = support.folder(setup, teardown)

local function write(name, bytes)
    return support.write(at(name), bytes)
end

-- A safetensors file with this header.
local function header(text, data)
    local n = #text
    return string.char(n % 256, math.floor(n / 256), 0, 0, 0, 0, 0, 0) .. text .. (data or "")
end

describe("a .safetensors file", function()
    it("brings back every dtype, bit for bit", function()
        for _, dtype in ipairs {"f16", "bf16", "f32", "f64", "i32", "i64", "u8"} do
            local t = support.rand({3, 4, 5}, {seed = 1, dtype = "f32"})
            t = t:to(support.device.name == "cpu" and "f64" or "f32"):to {dtype = dtype}
            fasc.save(at "d.safetensors", {t = t})
            local back = fasc.load(at "d.safetensors").t
            assert.equal(dtype, back.dtype)
            assert.same({3, 4, 5}, back.shape)
            support.same(back, t, dtype)
        end
    end)

    it("takes views of any strides", function()
        local t = support.randn({2, 3, 40, 50}, {seed = 2})
        local view = t:transpose(1, 3):slice(1, {10, 30}, nil, {1, 3})
        fasc.save(at "v.safetensors", {view = view})
        support.same(fasc.load(at "v.safetensors").view, view)
    end)

    it("holds many tensors and metadata", function()
        local named = {}
        for i = 1, 40 do
            named["layers." .. i .. ".é\n"] = fasc.full({i}, i, {device = "cpu"})
        end
        fasc.save(at "m.safetensors", named,
            {metadata = {layer = 3, causal = true, note = "line\n\"two\""}})
        local back, metadata = fasc.load(at "m.safetensors")
        assert.same({layer = "3", causal = "true", note = "line\n\"two\""}, metadata)
        for name, t in pairs(named) do
            support.same(back[name], t, name)
            back[name] = nil
        end
        assert.is_nil(next(back))
    end)

    it("has the same bytes for the same tensors", function()
        local a, b = support.randn({5}, {seed = 1}), support.randn({6}, {seed = 2})
        local options = {metadata = {x = 1, y = 2, z = 3}}
        fasc.save(at "1.safetensors", {a = a, b = b}, options)
        fasc.save(at "2.safetensors", {b = b, a = a}, options)
        assert(support.read(at "1.safetensors") == support.read(at "2.safetensors"))
    end)

    it("gives the tensors that were asked for, as they were asked for", function()
        fasc.save(at "n.safetensors", {q = support.ones({2}, {dtype = "f16"}),
            k = support.ones({3}, {dtype = "f16"}), tokens = support.ones({4}, {dtype = "i32"})})
        local t = fasc.load(at "n.safetensors", {names = {"q", "tokens"}, dtype = "float32",
            device = support.device})
        assert.is_nil(t.k)
        assert.equal("f32", t.q.dtype)
        assert.equal("i32", t.tokens.dtype)
        assert.equal(support.device, t.q.device)
        fails("EINVAL", function() fasc.load(at "n.safetensors", {names = {"tokes"}}) end,
            "load: ", "has no tensor 'tokes'; did you mean 'tokens'?")
        fails("EINVAL", function() fasc.load(at "n.safetensors", {dtype = "f31"}) end,
            "load: dtype: no dtype 'f31'")
        fails("EINVAL", function() fasc.load(at "n.safetensors", {name = {"q"}}) end,
            "did you mean 'names'?")
    end)
end)

describe("a .npy file", function()
    it("brings back one tensor", function()
        for _, dtype in ipairs {"f16", "f32", "f64", "i32", "i64", "u8"} do
            local t = fasc.arange(24, {dtype = dtype, device = support.device}):reshape {2, 3, 4}
            fasc.save(at "t.npy", t:transpose(0, 2))
            local back, metadata = fasc.load(at "t.npy")
            assert.equal(dtype, back.dtype)
            assert.same({}, metadata)
            support.same(back, t:transpose(0, 2), dtype)
        end
    end)

    it("keeps the indices of column-major data, as a view", function()
        local text = "{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }\n"
        local data = "\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5\0\0\0"
        local t = fasc.load(write("f.npy",
            "\147NUMPY\1\0" .. string.char(#text) .. "\0" .. text .. data))
        assert.same({{0, 2, 4}, {1, 3, 5}}, t:tolist())
        assert.same({1, 2}, t.stride)
    end)

    it("holds no bf16, no names and no metadata", function()
        local t = support.ones({2}, {dtype = "bf16"})
        fails("EUNSUPPORTED", function() fasc.save(at "b.npy", t) end, "npy has no bf16")
        fails("EINVAL", function() fasc.save(at "b.npy", {t = t}) end, "one tensor, got a table")
        fails("EINVAL", function() fasc.save(at "b.npy", t, {metadata = {}}) end, "metadata")
        fasc.save(at "b.npy", t:to "f32")
        fails("EINVAL", function() fasc.load(at "b.npy", {names = {"t"}}) end, "names")
    end)
end)

describe("an .npz file", function()
    it("brings back tensors by name, stored or compressed", function()
        local named = {
            q = support.randn({2, 3, 40}, {seed = 1, dtype = "f16"}):transpose(0, 2),
            ["layers/0 é"] = support.ones({}, {dtype = "i64"}),
            empty = support.zeros({3, 0}, {dtype = "u8"}),
        }
        for _, compress in ipairs {false, true} do
            fasc.save(at "t.npz", named, {compress = compress})
            local back, metadata = fasc.load(at "t.npz")
            assert.same({}, metadata)
            for name, t in pairs(named) do
                assert.equal(t.dtype, back[name].dtype)
                support.same(back[name], t, name)
                back[name] = nil
            end
            assert.is_nil(next(back))
        end
    end)

    it("is smaller when it is compressed, and holds no bf16 and no metadata", function()
        local t = support.zeros({10000}, {dtype = "u8"})
        fasc.save(at "large.npz", {t = t})
        fasc.save(at "small.npz", {t = t}, {compress = true})
        assert(#support.read(at "small.npz") * 20 < #support.read(at "large.npz"))
        fails("EUNSUPPORTED", function()
            fasc.save(at "n.npz", {b = support.ones({2}, {dtype = "bf16"})})
        end, "save_npz: b: npy has no bf16")
        fails("EINVAL", function() fasc.save(at "n.npz", t) end, "takes tensors by name")
        fails("EINVAL", function() fasc.save(at "n.npz", {t = t}, {metadata = {}}) end,
            "an npz holds none")
        fails("EINVAL", function() fasc.save(at "n.npy", t, {compress = true}) end, "use .npz")
    end)
end)

describe("names", function()
    local file
    setup(function()
        local one = fasc.ones({1}, {device = "cpu"})
        fasc.save(at "names.npz", {["layers.0.q"] = one, ["layers.0.k"] = one,
            ["layers.1.q"] = one, ["layers.10.q"] = one, ["a[1]"] = one, ["é"] = one})
        file = fasc.open(at "names.npz")
    end)

    local function sorted(list)
        table.sort(list)
        return list
    end

    it("are picked by patterns", function()
        local cases = {
            {"layers.?.q", {"layers.0.q", "layers.1.q"}},
            {"layers.*.q", {"layers.0.q", "layers.1.q", "layers.10.q"}},
            {"layers.[!0].?", {"layers.1.q"}}, {"layers.[0-9].k", {"layers.0.k"}},
            {"?", {"é"}}, {"a[1]", {"a[1]"}}, {"a[[]1]", {"a[1]"}}, {"none", {}}, {"%a+", {}},
            {"layersX0Xq", {}}, {"*", {"a[1]", "layers.0.k", "layers.0.q", "layers.1.q",
                "layers.10.q", "é"}},
        }
        for _, case in ipairs(cases) do
            assert.same(case[2], sorted(file:names(case[1])), case[1])
        end
    end)

    it("pick what is loaded, each once, and say when they pick nothing", function()
        local t = fasc.load(at "names.npz", {names = {"layers.1*", "layers.1.q", "a[1]"}})
        local names = {}
        for name in pairs(t) do
            names[#names + 1] = name
        end
        assert.same({"a[1]", "layers.1.q", "layers.10.q"}, sorted(names))
        fails("EINVAL", function() fasc.load(at "names.npz", {names = "layers.2.*"}) end,
            "has no tensor that fits 'layers.2.*' among its 6")
        fails("EINVAL", function() fasc.load(at "names.npz", {names = {3}}) end,
            "load: name: must be a string, got 3")
    end)

    it("are gone through with one tensor in memory", function()
        local large = {}
        for i = 1, 6 do
            large["layers." .. i] = fasc.full({1000, 100}, i, {device = "cpu", dtype = "f32"})
        end
        fasc.save(at "large.npz", large)
        for _, t in pairs(large) do
            t:free()
        end
        collectgarbage()
        local before, sum = fasc.memory("cpu").live, 0
        for _, t in fasc.open(at "large.npz"):each() do
            sum = sum + t:max()
            assert.is_true(fasc.memory("cpu").live - before <= 400000)
        end
        assert.equal(21, sum)
    end)

    it("are gone through one tensor at a time", function()
        local seen, last = {}, nil
        for name, t in file:each "layers.*" do
            assert.equal(1, t:sum())
            assert.falsy(last and pcall(last.sum, last)) -- it was freed
            seen[#seen + 1], last = name, t
        end
        assert.same({"layers.0.k", "layers.0.q", "layers.1.q", "layers.10.q"}, sorted(seen))
        assert.falsy(pcall(last.sum, last))
    end)
end)

describe("a tensor is read", function()
    it("with its layout turned, where it has rank 4", function()
        local t = support.randn({2, 5, 3, 4}, {seed = 1})
        fasc.save(at "l.npz", {q = t, tokens = support.ones {5}})
        local back = fasc.load(at "l.npz", {layout = "bnhd", device = support.device})
        assert.same({2, 3, 5, 4}, back.q.shape)
        support.same(back.q, t:transpose(1, 2))
        assert.same({5}, back.tokens.shape)
        assert.same({2, 5, 3, 4}, fasc.open(at "l.npz"):read("q", {layout = "bhnd"}).shape)
        fails("EINVAL", function() fasc.load(at "l.npz", {layout = "bnhq"}) end,
            'layout: must be "bhnd" or "bnhd", got \'bnhq\'; did you mean \'bnhd\'?')
    end)

    it("in a wider dtype where fasc lacks its own, exactly", function()
        local file = fasc.open(write("w.safetensors", header(
            '{"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},'
            .. '"b":{"dtype":"U16","shape":[1],"data_offsets":[2,4]},'
            .. '"c":{"dtype":"U32","shape":[1],"data_offsets":[4,8]},'
            .. '"d":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[8,12]},'
            .. '"e":{"dtype":"F8_E5M2","shape":[4],"data_offsets":[12,16]},'
            .. '"f":{"dtype":"I16","shape":[1],"data_offsets":[16,18]}}',
            "\128\127" .. "\254\255" .. "\255\255\255\255" .. "\1\126\128\127"
            .. "\1\123\252\126" .. "\0\128")))
        local expected = {
            a = {"i32", {-128, 127}}, b = {"i32", {65534}}, c = {"i64", {4294967295}},
            d = {"f16", {2^-9, 448, 0, 0/0}}, e = {"f16", {2^-16, 57344, -math.huge, 0/0}},
            f = {"i32", {-32768}},
        }
        for name, want in pairs(expected) do
            assert.equal(want[1], file:info(name).dtype)
            support.near(file:read(name), want[2], 0, name)
        end
        assert.equal("f32", file:read("d", {dtype = "f32"}).dtype)
    end)

    it("as another dtype of its size", function()
        local t = support.randn({3, 4}, {seed = 1, dtype = "bf16"})
        fasc.save(at "as.safetensors", {t = t})
        local bytes = support.read(at "as.safetensors"):gsub('"BF16"', '"U16" ')
        local file = fasc.open(write("u16.safetensors", bytes))
        assert.equal("i32", file:read("t").dtype)
        support.same(file:read("t", {as = "bf16"}), t)
        fails("EUNSUPPORTED", function() file:read("t", {as = "f32"}) end,
            "its elements of dtype U16 are not the 4 bytes of f32")
        fails("EINVAL", function() file:read("t", {as = "bf17"}) end, "read: as: no dtype 'bf17'")
    end)

    it("through the file's pages", function()
        local t = support.randn({3, 1000}, {seed = 1})
        fasc.save(at "map.safetensors", {t = t})
        local file = fasc.open(at "map.safetensors")
        local mapped = file:read("t", {map = true})
        file:close()
        support.same(mapped, t)
        support.same(mapped:slice({1, 3}, {7, 9}), t:slice({1, 3}, {7, 9}))
        fails("EUNSUPPORTED", function() fasc.open(at "l.npz"):read("q", {map = true}) end,
            "cannot be mapped")
        fails("EINVAL", function()
            fasc.load(at "map.safetensors", {map = true, as = "f32"})
        end, "as: cannot be combined with map")
    end)
end)

describe("an open file", function()
    it("lists, describes and reads single tensors", function()
        local q = support.randn({2, 8}, {seed = 1, dtype = "f16"})
        fasc.save(at "o.safetensors", {q = q, mask = support.zeros({3, 0}, {dtype = "u8"})},
            {metadata = {a = "b"}})
        local file = fasc.open(at "o.safetensors")
        assert.equal("safetensors", file.format)
        assert.same({"q", "mask"}, file:names())
        assert.same({a = "b"}, file:metadata())
        assert.truthy(file:has "q")
        assert.falsy(file:has "k")
        local info = file:info "q"
        assert.same({"f16", "F16", {2, 8}, 32}, {info.dtype, info.file_dtype, info.shape,
            info.bytes})
        support.same(file:read "q", q)
        assert.equal("f32", file:read("q", {dtype = "f32"}).dtype)
        assert.same({3, 0}, file:read("mask").shape)
        assert.truthy(tostring(file):find("safetensors file .*, 2 tensors"))
        fails("EINVAL", function() return file:read() end, "read: name: must be a string")
        fails("EINVAL", function() return file:red "q" end, "no field 'red'; did you mean 'read'?")
    end)

    it("reads no tensor that has a foreign dtype, and all others", function()
        local path = write("x.safetensors", header(
            '{"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]},'
            .. '"b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}}', ("\0"):rep(8) .. "\7"))
        local file = fasc.open(path)
        assert.is_nil(file:info("a").dtype)
        assert.equal("C64", file:info("a").file_dtype)
        assert.equal(7, file:read("b"):item())
        fails("EUNSUPPORTED", function() file:read "a" end, "'a': dtype C64")
    end)

    it("can be closed, more than once, and its tensors stay", function()
        fasc.save(at "c.npy", support.ones {4})
        local file = fasc.open(at "c.npy")
        local t = file:read()
        file:close()
        file:close()
        assert.equal(4, t:sum())
        fails("EINVAL", function() file:read() end, "read: ", "was closed")
        fails("EINVAL", function() file:names() end, "was closed")
    end)

    it("is given up by the collector", function()
        fasc.save(at "g.npy", support.ones {4})
        for _ = 1, 3000 do -- more than a process may have open
            fasc.open(at "g.npy")
        end
    end)
end)

describe("a bad file", function()
    it("is told from a missing one, in one line with its path", function()
        fails("EIO", function() fasc.load(at "missing.npy") end, at "missing.npy", "No such file")
        fails("EINVAL", function() fasc.load(at "a.npy\0b") end, "open: path", "NUL", "a.npy\\0b")
        fails("EINVAL", function() fasc.save("a\0b.npy", fasc.zeros {1}) end, "save: path", "NUL")
        fails("EIO", function() fasc.load(at()) end, "is a directory")
        fails("EFORMAT", function() fasc.load(write("e.npy", "")) end, "byte 0")
        fails("EFORMAT", function() fasc.load(write("z.pt", "PK\3\4" .. ("x"):rep(20))) end,
            "zip archive", "PyTorch's .pt")
        fails("EINVAL", function() fasc.load(7) end, "path: must be a string without NULs, got 7")
    end)

    it("has its names escaped before they are printed", function()
        local err = fails("EFORMAT", function()
            fasc.load(write("n.safetensors", header(
                '{"\\u001b[2J":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}')))
        end, "'\\x1b[2J'")
        assert.is_nil(err.message:find("\27", 1, true))
        local path = write("n.safetensors", header(
            '{"\\u001b[2J":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'))
        err = fails("EINVAL", function() fasc.open(path):read "\27[2K" end,
            "no tensor '\\x1b[2K'; did you mean '\\x1b[2J'?")
        assert.is_nil(err.message:find("\27", 1, true))
    end)
end)

describe("saving", function()
    it("refuses what it cannot write, before it writes", function()
        local t = support.ones {2}
        local cases = {
            {"must end in .safetensors, .npz or .npy", at "never.bin", t},
            {"must end in .safetensors, .npz or .npy", at "never", t},
            {"takes tensors by name, {q = q}, got a tensor", at "never.safetensors", t},
            {"names must be strings, got 1", at "never.safetensors", {t}},
            {"save: q: must be a tensor, got 3", at "never.safetensors", {q = 3}},
            {"holds a NUL", at "never.safetensors", {["a\0b"] = t}},
            {"is the format's own", at "never.safetensors", {__metadata__ = t}},
            {"no UTF-8", at "never.safetensors", {["\255"] = t}},
            {"'k' must be a string, number or boolean, got a table", at "never.safetensors",
                {t = t}, {metadata = {k = {}}}},
            {"save: tensor: must be a tensor, got nil", at "never.npy", nil},
            {"unknown option 'meta'", at "never.safetensors", {t = t}, {meta = {}}},
        }
        for _, case in ipairs(cases) do
            fails("EINVAL", function() fasc.save(case[2], case[3], case[4]) end, case[1])
        end
        t:free()
        fails("EINVAL", function() fasc.save(at "never.npy", t) end, "was freed")
        assert.is_nil(io.open(at "never.npy"))
        assert.is_nil(io.open(at "never.safetensors"))
    end)

    it("names the path and the reason where it cannot", function()
        fails("EIO", function() fasc.save("/nonexistent/x.npy", support.ones {2}) end,
            "/nonexistent/x.npy", "No such file")
    end)

    it("replaces a file that is open for reading without harm to its reader", function()
        fasc.save(at "r.npy", support.ones {3})
        local file = fasc.open(at "r.npy")
        fasc.save(at "r.npy", support.zeros {1000})
        assert.equal(3, file:read():sum())
        assert.equal(0, fasc.load(at "r.npy"):sum())
    end)
end)
