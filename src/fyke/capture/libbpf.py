"""libbpf.so.1 through ctypes: the only module that knows it.

Only what fyke uses; names and errors are libbpf's (bpf/libbpf.h, bpf/bpf.h). Every call that fails raises
OSError with the kernel's errno.
"""

from __future__ import annotations

import ctypes as ct
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

from fyke.capture.libbpf_log import Log
from fyke.errors import Unsupported

_LOG_BYTES = 1 << 20


class _ProgLoadOpts(ct.Structure):
    # struct bpf_prog_load_opts, libbpf 1.0; later versions append members, `sz` says which ones are known.
    _fields_ = (
        ("sz", ct.c_size_t),
        ("attempts", ct.c_int),
        ("expected_attach_type", ct.c_int),
        ("prog_btf_fd", ct.c_uint32),
        ("prog_flags", ct.c_uint32),
        ("prog_ifindex", ct.c_uint32),
        ("kern_version", ct.c_uint32),
        ("attach_btf_id", ct.c_uint32),
        ("attach_prog_fd", ct.c_uint32),
        ("attach_btf_obj_fd", ct.c_uint32),
        ("fd_array", ct.c_void_p),
        ("func_info", ct.c_void_p),
        ("func_info_cnt", ct.c_uint32),
        ("func_info_rec_size", ct.c_uint32),
        ("line_info", ct.c_void_p),
        ("line_info_cnt", ct.c_uint32),
        ("line_info_rec_size", ct.c_uint32),
        ("log_level", ct.c_uint32),
        ("log_size", ct.c_uint32),
        ("log_buf", ct.c_void_p),
    )


class _MapCreateOpts(ct.Structure):
    _fields_ = (
        ("sz", ct.c_size_t),
        ("btf_fd", ct.c_uint32),
        ("btf_key_type_id", ct.c_uint32),
        ("btf_value_type_id", ct.c_uint32),
        ("btf_vmlinux_value_type_id", ct.c_uint32),
        ("inner_map_fd", ct.c_uint32),
        ("map_flags", ct.c_uint32),
    )


class _MapBatchOpts(ct.Structure):
    _fields_ = (("sz", ct.c_size_t), ("elem_flags", ct.c_uint64), ("flags", ct.c_uint64))


_PTR, _INT, _STR, _SIZE = ct.c_void_p, ct.c_int, ct.c_char_p, ct.c_size_t

# name: (result, arguments)
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "bpf_object__open_mem": (_PTR, (_STR, _SIZE, _PTR)),
    "bpf_object__load": (_INT, (_PTR,)),
    "bpf_object__close": (None, (_PTR,)),
    "bpf_object__btf": (_PTR, (_PTR,)),
    "btf__raw_data": (_PTR, (_PTR, ct.POINTER(ct.c_uint32))),
    "bpf_object__find_program_by_name": (_PTR, (_PTR, _STR)),
    "bpf_object__find_map_by_name": (_PTR, (_PTR, _STR)),
    "bpf_program__set_autoload": (_INT, (_PTR, ct.c_bool)),
    "bpf_program__set_attach_target": (_INT, (_PTR, _INT, _STR)),
    "bpf_program__expected_attach_type": (_INT, (_PTR,)),
    "bpf_program__set_log_level": (_INT, (_PTR, ct.c_uint32)),
    "bpf_program__fd": (_INT, (_PTR,)),
    "bpf_program__insns": (_PTR, (_PTR,)),
    "bpf_program__insn_cnt": (_SIZE, (_PTR,)),
    "bpf_program__type": (_INT, (_PTR,)),
    "bpf_map__initial_value": (_PTR, (_PTR, ct.POINTER(_SIZE))),
    "bpf_map__set_max_entries": (_INT, (_PTR, ct.c_uint32)),
    "bpf_map__set_inner_map_fd": (_INT, (_PTR, _INT)),
    "bpf_map__fd": (_INT, (_PTR,)),
    "bpf_map_create": (_INT, (_INT, _STR, ct.c_uint32, ct.c_uint32, ct.c_uint32, _PTR)),
    "bpf_map_update_elem": (_INT, (_INT, _PTR, _PTR, ct.c_uint64)),
    "bpf_map_delete_elem": (_INT, (_INT, _PTR)),
    "bpf_map_lookup_elem": (_INT, (_INT, _PTR, _PTR)),
    "bpf_map_get_next_key": (_INT, (_INT, _PTR, _PTR)),
    "bpf_map_lookup_batch": (_INT, (_INT, _PTR, _PTR, _PTR, _PTR, ct.POINTER(ct.c_uint32), _PTR)),
    "bpf_prog_load": (_INT, (_INT, _STR, _STR, _PTR, _SIZE, _PTR)),
    "libbpf_set_print": (_PTR, (_PTR,)),
}


@functools.cache
def library() -> ct.CDLL:
    """Load libbpf.so.1 and type its functions. Raises Unsupported when it isn't there."""
    try:
        lib = ct.CDLL("libbpf.so.1", use_errno=True)
    except OSError as e:
        raise Unsupported(
            "libbpf.so.1 was not found on this machine", "install libbpf (Debian: libbpf1)"
        ) from e
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = arguments
    lib.libbpf_set_print(None)  # quiet, but for the time of `collected_log`
    return lib


def _check(value: int | None, what: str) -> int:
    if value is None or value < 0:
        number = -value if value is not None and value < -1 else ct.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return value


@contextmanager
def collected_log() -> Iterator[Log]:
    """Collect libbpf's messages for the time of a `with` block."""
    lib = library()
    log = Log()
    previous = lib.libbpf_set_print(ct.cast(log.callback, _PTR))
    try:
        yield log
    finally:
        lib.libbpf_set_print(previous)


class Object:
    """A bpf_object: opened from an ELF image, configured, loaded; a context manager."""

    def __init__(self, image: bytes) -> None:
        self._lib = library()
        self._image = image  # libbpf keeps pointers into it
        self._handle = self._lib.bpf_object__open_mem(image, len(image), None)
        if not self._handle:
            _check(None, "opening the BPF object")

    def close(self) -> None:
        """Close the object and everything it holds."""
        if self._handle:
            self._lib.bpf_object__close(self._handle)
            self._handle = None

    def btf(self) -> bytes:
        """Return the object's own BTF."""
        size = ct.c_uint32()
        data = self._lib.btf__raw_data(self._lib.bpf_object__btf(self._handle), ct.byref(size))
        return ct.string_at(data, size.value)

    def program(self, name: str) -> Program:
        """Return a program by its function's name."""
        handle = self._lib.bpf_object__find_program_by_name(self._handle, name.encode())
        if not handle:
            _check(None, f"program {name}")
        return Program(name, handle)

    def _map(self, name: str) -> int:
        handle: int | None = self._lib.bpf_object__find_map_by_name(self._handle, name.encode())
        if not handle:
            _check(None, f"map {name}")
        assert handle
        return handle

    def set_max_entries(self, map_name: str, entries: int) -> None:
        """Size a map before the object is loaded."""
        _check(self._lib.bpf_map__set_max_entries(self._map(map_name), entries), f"size of map {map_name}")

    def set_inner_map(self, map_name: str, inner_fd: int) -> None:
        """Give a map of maps its template before the object is loaded."""
        _check(self._lib.bpf_map__set_inner_map_fd(self._map(map_name), inner_fd), f"inner map of {map_name}")

    def map_fd(self, name: str) -> int:
        """Return a loaded map's descriptor (it stays the object's)."""
        return _check(self._lib.bpf_map__fd(self._map(name)), f"map {name}")

    def data(self, section: str) -> memoryview:
        """Return the initial values of `.rodata` or `.bss`; what is written here before loading is loaded."""
        size = _SIZE()
        address = self._lib.bpf_map__initial_value(self._map(section), ct.byref(size))
        if not address:
            _check(None, f"section {section}")
        return memoryview((ct.c_ubyte * size.value).from_address(address)).cast("B")

    def load(self) -> None:
        """Load maps and programs into the kernel."""
        _check(self._lib.bpf_object__load(self._handle), "loading the BPF programs")


class Program:
    """A bpf_program of an object."""

    def __init__(self, name: str, handle: int) -> None:
        self.name = name
        self._lib = library()
        self._handle = handle

    def set_autoload(self, load: bool) -> None:
        """Say whether the program is loaded with its object."""
        _check(self._lib.bpf_program__set_autoload(self._handle, load), self.name)

    def set_attach_target(self, function: str, program_fd: int = 0) -> None:
        """Say which function a tracing program (fentry, fexit) is loaded for.

        It is one of the kernel, a module, or (program_fd) of a loaded program.
        """
        set_target = self._lib.bpf_program__set_attach_target
        _check(set_target(self._handle, program_fd, function.encode()), self.name)

    @property
    def fd(self) -> int:
        """The loaded program's descriptor (it stays the object's)."""
        return _check(self._lib.bpf_program__fd(self._handle), self.name)

    def instructions(self) -> bytes:
        """Return the program's instructions as they were given to the kernel, relocated."""
        count = self._lib.bpf_program__insn_cnt(self._handle)
        return ct.string_at(self._lib.bpf_program__insns(self._handle), count * 8)

    def load_copy(self, instructions: bytes, btf_id: int = 0, btf_fd: int = 0) -> int:
        """Load other instructions as a program of this type; the descriptor is the caller's to close.

        btf_id, btf_fd: the function that a tracing program is for, and its module's types (0: the kernel's).
        """
        log = ct.create_string_buffer(_LOG_BYTES)
        opts = _ProgLoadOpts(sz=ct.sizeof(_ProgLoadOpts), attach_btf_id=btf_id, attach_btf_obj_fd=btf_fd)
        if btf_id:
            opts.expected_attach_type = self._lib.bpf_program__expected_attach_type(self._handle)
        kind = self._lib.bpf_program__type(self._handle)
        name = self.name.encode()[:15]
        load = self._lib.bpf_prog_load
        fd = load(kind, name, b"GPL", instructions, len(instructions) // 8, ct.byref(opts))
        if fd < 0:  # once more, for the reason
            opts.log_level, opts.log_size, opts.log_buf = 1, len(log), ct.addressof(log)
            fd = load(kind, name, b"GPL", instructions, len(instructions) // 8, ct.byref(opts))
        return _check(fd, f"loading a copy of {self.name}")


def create_ring(name: str, size_bytes: int) -> int:
    """Create a BPF_MAP_TYPE_RINGBUF (27); size a power of two of whole pages. Returns its descriptor."""
    return _check(
        library().bpf_map_create(27, name.encode(), 0, 0, size_bytes, None), f"ring of {size_bytes} bytes"
    )


def update_element(map_fd: int, key: bytes, value: bytes) -> None:
    """Write one element of a map."""
    _check(library().bpf_map_update_elem(map_fd, key, value, 0), "writing a map element")


def delete_element(map_fd: int, key: bytes) -> bool:
    """Delete one element; say whether it was there."""
    return bool(library().bpf_map_delete_elem(map_fd, key) == 0)


def lookup_element(map_fd: int, key: bytes, value_bytes: int) -> bytes | None:
    """Return one element's value, None when there is none."""
    value = ct.create_string_buffer(value_bytes)
    if library().bpf_map_lookup_elem(map_fd, key, value) != 0:
        return None
    return value.raw


def keys_of(map_fd: int) -> Iterator[int]:
    """Yield the keys of a map whose keys are numbers of 32 bits, one call each."""
    key = None
    following = ct.c_uint32()
    while library().bpf_map_get_next_key(map_fd, key, ct.byref(following)) == 0:
        yield following.value
        key = ct.byref(ct.c_uint32(following.value))


def elements(map_fd: int, key_bytes: int, value_bytes: int, entries: int) -> tuple[bytes, bytes, int]:
    """Return keys, values and number of a hash map's elements, in one call (BPF_MAP_LOOKUP_BATCH)."""
    keys = ct.create_string_buffer(key_bytes * entries)
    values = ct.create_string_buffer(value_bytes * entries)
    position = ct.create_string_buffer(max(key_bytes, 4))
    count = ct.c_uint32(entries)
    opts = _MapBatchOpts(sz=ct.sizeof(_MapBatchOpts))
    result = library().bpf_map_lookup_batch(
        map_fd, None, position, keys, values, ct.byref(count), ct.byref(opts)
    )
    if result < 0 and ct.get_errno() != 2:  # ENOENT: reached the end
        _check(-1, "reading a map")
    return keys.raw[: count.value * key_bytes], values.raw[: count.value * value_bytes], count.value
