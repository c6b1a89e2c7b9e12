-- NumPy writes, fasc reads and writes again, NumPy compares: every dtype, byte order and memory
-- order, bit for bit.
local shell = require "tests.cli.shell"
local support = require "tests.lua.support"

local at = support.folder(setup, teardown)

-- Debian's NumPy belongs to Debian's Python, which need not be the first on the path.
local function find_python()
    for _, name in ipairs {"python3", "/usr/bin/python3"} do
        if shell.sh(name .. " -c 'import numpy'").code == 0 then
            return name
        end
    end
end

local python = find_python()

local ARRAYS = [[
import numpy as np, sys
folder = sys.argv[1]
WIDER = {'i1': 'i4', 'i2': 'i4', 'u2': 'i4', 'u4': 'i8', 'u8': 'i8', 'b1': 'u1'}

def special(code):
    if code[0] == 'f':
        info = np.finfo(code)
        bits = np.array([0, 1], 'u' + code[1]).view(code)  # zero and the smallest subnormal
        return np.concatenate([bits, np.array([np.nan, np.inf, -np.inf, -0.0, info.max, info.min,
            info.tiny, 1.1, -2.5e-3], code)])
    if code == 'b1':
        return np.array([True, False, True])
    info = np.iinfo(code)
    most = min(info.max, 2**63 - 1)  # what i64 holds
    return np.array([info.min, most, 0, 1, most - 1], code)

def arrays():
    for code in ['f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'b1']:
        for shape in [(), (0,), (3, 0, 2), (7,), (2, 3), (2, 3, 4), (1, 2, 1, 5, 3)]:
            a = np.resize(special(code), shape).astype(code)
            for name, b in {'c': a, 'f': np.asfortranarray(a), 'be': a.astype('>' + code),
                    'bef': np.asfortranarray(a.astype('>' + code)),
                    't': np.ascontiguousarray(a.T).T,
                    's': np.resize(a, shape + (2,))[..., 0]}.items():
                yield '_'.join([code, name] + [str(n) for n in shape]), b

def wider(a):
    code = a.dtype.str[1:]
    return a.astype('<' + WIDER.get(code, code))

def same(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
]]

local WRITE = ARRAYS .. [[
all = dict(arrays())
for name, a in all.items():
    np.save(f'{folder}/{name}.npy', a)
np.savez(f'{folder}/stored.npz', **all)
np.savez_compressed(f'{folder}/deflated.npz', **all)
]]

local AGAIN = [[
local fasc = require "fasc"
local folder, list = arg[1], {}
for name, t in fasc.open(folder .. "/stored.npz"):each() do
    fasc.save(("%s/%s.again.npy"):format(folder, name), fasc.load(folder .. "/" .. name .. ".npy"))
    list[#list + 1] = name
end
for _, kind in ipairs {"stored", "deflated"} do
    local all = fasc.load(("%s/%s.npz"):format(folder, kind))
    fasc.save(("%s/%s.again.npz"):format(folder, kind), all, {compress = kind == "deflated"})
end
print(#list)]]

local COMPARE = ARRAYS .. [[
count = 0
stored, deflated = (np.load(f'{folder}/{kind}.again.npz') for kind in ['stored', 'deflated'])
for name, a in arrays():
    for where, b in {'npy': np.load(f'{folder}/{name}.again.npy'), 'stored': stored[name],
            'deflated': deflated[name]}.items():
        if not same(wider(a), b):
            print(name, where, 'differs', a.dtype, b.dtype, a.shape, b.shape)
        count += 1
print(count, 'equal')
]]

local function run_python(code)
    local result = shell.sh(("%s - %s"):format(python, at()), code)
    assert.equal("", result.err)
    assert.equal(0, result.code)
    return result.out
end

describe("numpy", function()
    if not python then
        pending "writes what fasc reads: needs python3-numpy"
        return
    end

    it("writes what fasc reads exactly, and reads what fasc writes", function()
        run_python(WRITE)
        shell.write(at "again.lua", AGAIN)
        local result = shell.bench(at "again.lua", at())
        assert.equal("", result.err)
        assert.equal("504\n", result.out)
        assert.equal("1512 equal\n", run_python(COMPARE))
    end)

    it("keeps what fasc has no dtype for: read as its bits, or refused", function()
        run_python [[
import numpy as np, sys
np.save(sys.argv[1] + '/bf16.npy', np.array([0x3fc0, 0xc000], 'u2'))  # 1.5 and -2
np.save(sys.argv[1] + '/large.npy', np.array([1, 2**63], 'u8'))
np.save(sys.argv[1] + '/object.npy', np.array([{}, None], object))
np.save(sys.argv[1] + '/complex.npy', np.zeros(3, 'c8'))
np.save(sys.argv[1] + '/fields.npy', np.zeros(3, [('a', 'f4'), ('b', 'i2', (2,))]))]]
        local fasc = require "fasc"
        local t = fasc.load(at "bf16.npy", {as = "bf16"})
        assert.equal("bf16", t.dtype)
        assert.same({1.5, -2}, t:tolist())
        support.fails("EUNSUPPORTED", function() fasc.load(at "large.npy") end,
            "element 1 is past 9223372036854775807")
        support.fails("EUNSUPPORTED", function() fasc.load(at "object.npy") end, "a pickle")
        support.fails("EUNSUPPORTED", function() fasc.load(at "complex.npy") end, "'<c8'")
        support.fails("EUNSUPPORTED", function() fasc.load(at "fields.npy") end, "structured")
    end)
end)
