-- Python programs: libfasc.so through ctypes, by the structs that scripts/fasc_ctypes.py reads from
-- fasc.h. The memory is Python's own.
local shell = require "tests.cli.shell"

local PROGRAM = [[
import array, ctypes, math, sys
sys.path.insert(0, "scripts")
import fasc_ctypes

fasc = fasc_ctypes.Library(sys.argv[1], "src/fasc.h", "cpu")
for name, struct in fasc.structs.items():
    if not fasc.lib.fasc_struct_size(name.encode()):
        print(name, "is unknown to the library")

F32, H, N, D = 3, 2, 5, 8
def memory(count):
    return array.array("f", [math.sin(n) for n in range(count)])
def wrap(a, width):
    # (1, H, N, width), laid out as (1, N, H, width)
    return fasc.wrap_memory(F32, (1, H, N, width), (N * H * width, width, H * width, 1),
                            a.buffer_info()[0])

data = {name: memory(H * N * D) for name in "qkv"}
data["out"], data["probs"] = memory(H * N * D), memory(H * N * N)
args = fasc.new("fasc_attention_args", causal=1,
                **{name: wrap(a, N if name == "probs" else D) for name, a in data.items()})
plan = fasc.new("fasc_attention_plan")
fasc.check(fasc.lib.fasc_attention(ctypes.byref(args), ctypes.byref(plan)))

def row(name, h, n, width=D):
    return data[name][(n * H + h) * width:][:width]
worst = 0
for h in range(H):
    for i in range(N):
        s = [sum(x * y for x, y in zip(row("q", h, i), row("k", h, j))) / math.sqrt(D)
             for j in range(i + 1)]
        e = [math.exp(x - max(s)) for x in s]
        p = [x / sum(e) for x in e] + [0] * (N - 1 - i)
        o = [sum(p[j] * row("v", h, j)[d] for j in range(N)) for d in range(D)]
        worst = max([worst] + [abs(a - b) for a, b in zip(row("probs", h, i, N), p)]
                    + [abs(a - b) for a, b in zip(row("out", h, i), o)])
print(plan.kernel.decode(), "right" if worst < 1e-6 else worst)

args.sm_scale, args.has_scale = math.nan, 1
try:
    fasc.check(fasc.lib.fasc_attention(ctypes.byref(args), None))
except fasc_ctypes.FascError as e:
    print(e)
]]

describe("a Python program", function()
    if not shell.has "python3" then
        pending "calls the library through ctypes: needs python3"
        return
    end

    it("calls the library through ctypes on memory of its own", function()
        local result = shell.sh("python3 -B - " .. shell.quote(shell.prefix), PROGRAM)
        assert.equal("", result.err)
        assert.matches("^flash right\nattention: sm_scale: is %-?nan, must be finite\n$",
            result.out)
    end)
end)
