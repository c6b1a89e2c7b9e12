"""fasc for Python programs: libfasc.so through ctypes, on any memory, and on PyTorch's tensors.

The structs are read from fasc.h itself (the region between its two markers), so that nothing is
declared twice; their sizes are checked against the library. Tensors are wrapped where they lie.
"""
import ctypes
import json
import os
import re

SCALARS = {
    "int32_t": ctypes.c_int32, "uint32_t": ctypes.c_uint32, "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64, "double": ctypes.c_double, "float": ctypes.c_float,
    "char": ctypes.c_char, "_Bool": ctypes.c_bool,
}


def read_structs(header):
    """The structs of fasc.h as ctypes classes, by name."""
    text = open(header, encoding="utf-8").read()
    region = text.split("--- ffi: begin ---")[1].split("--- ffi: end ---")[0]
    region = re.sub(r"/\*.*?\*/", "", region, flags=re.S)
    structs = {}
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", region, flags=re.S):
        fields = []
        for declaration in filter(None, (d.strip() for d in body.split(";"))):
            fields += read_fields(declaration, structs)
        structs[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    return structs


def read_fields(declaration, structs):
    """"double min, max" or "const fasc_tensor *q" or "char name[32]" as (name, type) pairs."""
    words = re.sub(r"\b(const|struct)\b", "", declaration).strip()
    base, names = re.match(r"(\w+)\s*(.*)", words, flags=re.S).groups()
    fields = []
    for item in names.split(","):
        stars, name, count = re.match(r"\s*(\**)\s*(\w+)\s*(?:\[(\d+)\])?\s*$", item).groups()
        if stars:
            kind = ctypes.c_char_p if base == "char" else ctypes.c_void_p
        else:
            kind = SCALARS.get(base) or structs.get(base)
        fields.append((name, kind * int(count) if count else kind))
    return fields


class FascError(RuntimeError):
    """A failed call; the message is the library's own line."""


class Library:
    """The library of a build, and one of its devices ("cpu", "cuda:0")."""

    def __init__(self, build, header, device):
        self.lib = ctypes.CDLL(os.path.join(build, "lib", "libfasc.so"))
        self.structs = read_structs(header)
        self.lib.fasc_last_error.restype = ctypes.c_char_p
        self.lib.fasc_build_info.restype = ctypes.c_char_p
        self.lib.fasc_struct_size.restype = ctypes.c_size_t
        self.lib.fasc_tensor_free.argtypes = [ctypes.c_void_p]
        for name, struct in self.structs.items():
            expected = self.lib.fasc_struct_size(name.encode())
            if expected and expected != ctypes.sizeof(struct):
                raise FascError(f"{name}: {ctypes.sizeof(struct)} bytes here, {expected} there")
        self.device = ctypes.c_void_p()
        self.check(self.lib.fasc_device_open(device.encode(), ctypes.byref(self.device)))

    def versions(self):
        """What a record needs: the driver, and the commit that fasc was built from."""
        info, built = self.new("fasc_device_info"), json.loads(self.lib.fasc_build_info())
        self.check(self.lib.fasc_device_get_info(self.device, ctypes.byref(info)))
        return {"driver": info.driver.decode(), "commit": built["commit"],
                "dirty": built["dirty"]}

    def check(self, status):
        if status != 0:
            raise FascError(self.lib.fasc_last_error().decode())

    def new(self, name, **fields):
        """A zeroed struct with its size and these fields set."""
        struct = self.structs[name]()
        struct.size = ctypes.sizeof(struct)
        for field, value in fields.items():
            setattr(struct, field, value)
        return struct

    def wrap_memory(self, dtype, shape, stride, address):
        """A handle on memory, which must outlive it; dtype is a fasc_dtype, strides count
        elements."""
        rank, handle = len(shape), ctypes.c_void_p()
        numbers = ctypes.c_int64 * rank
        self.check(self.lib.fasc_tensor_wrap(self.device, dtype, rank, numbers(*shape),
                                             numbers(*stride), ctypes.c_void_p(address),
                                             ctypes.byref(handle)))
        return handle


class Fasc(Library):
    """The library, and the GPU of PyTorch's current device."""

    def __init__(self, build, header):
        import torch
        super().__init__(build, header, f"cuda:{torch.cuda.current_device()}")
        self.dtypes = {torch.float16: 1, torch.bfloat16: 2, torch.float32: 3}

    def wrap(self, t):
        """A handle on a PyTorch tensor's memory; the tensor must outlive it."""
        return self.wrap_memory(self.dtypes[t.dtype], t.shape, t.stride(), t.data_ptr())

    def attention(self, tensors, kernel=None, causal=False, arch=None):
        """A prepared call: tensors holds q, k, v and the outputs by their names in
        fasc_attention_args. Returns (function to call, plan)."""
        import torch
        args = self.new("fasc_attention_args", causal=int(causal),
                        **{name: self.wrap(t) for name, t in tensors.items()})
        args.kernel.name = kernel.encode() if kernel else None
        args.kernel.arch = arch.encode() if arch else None
        plan = self.new("fasc_attention_plan")
        self.check(self.lib.fasc_attention_query(ctypes.byref(args), ctypes.byref(plan)))
        workspace = torch.empty(max(plan.workspace_bytes, 1), dtype=torch.uint8, device="cuda")
        args.workspace, args.workspace_bytes = workspace.data_ptr(), workspace.numel()
        pointer = ctypes.byref(args)

        def call():
            args.stream = torch.cuda.current_stream().cuda_stream or None
            self.check(self.lib.fasc_attention(pointer, None))

        call.keep = (args, workspace, tensors)
        return call, plan

    def matmul(self, a, b, out, alpha=1.0):
        """A prepared product."""
        import torch
        args = self.new("fasc_matmul_args", a=self.wrap(a), b=self.wrap(b), out=self.wrap(out),
                        alpha=alpha)
        pointer = ctypes.byref(args)

        def call():
            args.stream = torch.cuda.current_stream().cuda_stream or None
            self.check(self.lib.fasc_matmul(pointer))

        call.keep = (args, a, b, out)
        return call
