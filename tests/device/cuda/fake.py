"""Calls of `cuda.bindings.driver` go in; a device that runs known kernels in numpy answers.

It keeps what the driver keeps, and refuses what the driver refuses: handles that it has not
given or that are gone, threads without a context, blocks over the limit, modules for a newer
device, waiting for what is only recorded. A kernel that is given an address of nothing breaks the
context, as on a device. What it keeps is in `state`; here are the calls, chapter by chapter.
"""

import ctypes
import re
from typing import Any

import numpy as np

from cotenant.compiler import nvrtc
from tests.device.cuda import codes
from tests.device.cuda.machine import Event, Graph, Stream
from tests.device.cuda.state import Function, Module, R, Refused, State, asked

_ENTRY = re.compile(rb"\.entry\s+(\w+)\s*\(([^)]*)\)")
_PARAMETER = re.compile(rb"\.param\s+(?:\.align\s+\d+\s+)?\.[a-z]*(\d+)")
_TARGET = re.compile(rb"\.target\s+sm_(\d+)")


def entries_of(ptx: bytes) -> dict[str, tuple[int, ...]]:
    """Every kernel of a PTX text, with the bytes of its parameters."""
    return {
        name.decode(): tuple(int(bits) // 8 for bits in _PARAMETER.findall(parameters))
        for name, parameters in _ENTRY.findall(ptx)
    }


class FakeCuda(State):
    """Stands for the module `cuda.bindings.driver`."""

    for _name in (one for one in vars(codes) if one.startswith("CU")):
        locals()[_name] = getattr(codes, _name)

    # --- without a context -----------------------------------------------------------------

    def cuInit(self, flags: int) -> tuple[Any, ...]:
        self._initialised = flags == 0
        return (R.CUDA_SUCCESS if self._initialised else R.CUDA_ERROR_INVALID_VALUE,)

    def cuDeviceGetCount(self) -> tuple[Any, ...]:
        return R.CUDA_SUCCESS, 1

    def cuDriverGetVersion(self) -> tuple[Any, ...]:
        return R.CUDA_SUCCESS, self._driver

    def cuDeviceGet(self, ordinal: int) -> tuple[Any, ...]:
        return (R.CUDA_SUCCESS, "device") if ordinal == 0 else (R.CUDA_ERROR_INVALID_DEVICE, None)

    def cuDeviceGetName(self, length: int, dev: Any) -> tuple[Any, ...]:
        return R.CUDA_SUCCESS, b"Fake Orin".ljust(length, b"\0")

    def cuDeviceTotalMem(self, dev: Any) -> tuple[Any, ...]:
        return R.CUDA_SUCCESS, self._memory_bytes

    def cuDeviceGetAttribute(self, attrib: Any, dev: Any) -> tuple[Any, ...]:
        name = codes.CUdevice_attribute(attrib).name.removeprefix("CU_DEVICE_ATTRIBUTE_")
        return R.CUDA_SUCCESS, {
            "MULTIPROCESSOR_COUNT": self._units,
            "MAX_THREADS_PER_MULTIPROCESSOR": 1536,
            "MAX_BLOCKS_PER_MULTIPROCESSOR": 16,
            "COMPUTE_CAPABILITY_MAJOR": self._sm // 10,
            "COMPUTE_CAPABILITY_MINOR": self._sm % 10,
        }[name]

    def cuDevicePrimaryCtxSetFlags(self, dev: Any, flags: int) -> tuple[Any, ...]:
        return (R.CUDA_SUCCESS,)

    def cuDevicePrimaryCtxRetain(self, dev: Any) -> tuple[Any, ...]:
        return R.CUDA_SUCCESS, self._context

    def cuCtxSetCurrent(self, ctx: Any) -> tuple[Any, ...]:
        self._thread.context = ctx
        return (R.CUDA_SUCCESS if ctx is self._context else R.CUDA_ERROR_INVALID_CONTEXT,)

    def cuGetErrorString(self, error: Any) -> tuple[Any, ...]:
        return R.CUDA_SUCCESS, b"a text about it"

    def cuCtxGetStreamPriorityRange(self) -> tuple[Any, ...]:
        return R.CUDA_SUCCESS, 0, -5

    # --- memory ----------------------------------------------------------------------------

    @asked
    def cuMemAlloc(self, bytesize: int) -> Any:
        used = sum(one.nbytes for one in self._memory.values())
        if bytesize <= 0:
            raise Refused(R.CUDA_ERROR_INVALID_VALUE)
        if used + bytesize > self._memory_bytes:
            raise Refused(R.CUDA_ERROR_OUT_OF_MEMORY)
        return self._mapped(np.full(bytesize, 0xA5, np.uint8))

    @asked
    def cuMemFree(self, dptr: int) -> None:
        if dptr not in self._memory:
            raise Refused(R.CUDA_ERROR_INVALID_VALUE)
        self._run_all()  # the driver waits for the device here
        del self._memory[dptr]

    @asked
    def cuMemHostAlloc(self, bytesize: int, Flags: int) -> Any:
        block = (ctypes.c_uint8 * bytesize)()
        address = ctypes.addressof(block)
        self._pinned[address] = block, self._mapped(np.frombuffer(block, np.uint8))
        return address

    @asked
    def cuMemFreeHost(self, p: int) -> None:
        if p not in self._pinned:
            raise Refused(R.CUDA_ERROR_INVALID_VALUE)
        self._run_all()
        del self._memory[self._pinned.pop(p)[1]]

    @asked
    def cuMemcpyHtoDAsync(self, dstDevice: int, srcHost: int, ByteCount: int, hStream: Any) -> None:
        target = self._at(dstDevice, ByteCount)
        if self._is_pinned(srcHost, ByteCount):
            source = _host(srcHost, ByteCount)
            self._add(hStream, lambda: np.copyto(target, source))
        else:
            staged = _host(srcHost, ByteCount).copy()
            self._add(hStream, lambda: np.copyto(target, staged))

    @asked
    def cuMemcpyDtoHAsync(self, dstHost: int, srcDevice: int, ByteCount: int, hStream: Any) -> None:
        source, target = self._at(srcDevice, ByteCount), _host(dstHost, ByteCount)
        node = self._add(hStream, lambda: np.copyto(target, source))
        if node is not None and not self._is_pinned(dstHost, ByteCount):
            self._run_until(node)  # ordinary memory: the caller is kept

    @asked
    def cuMemcpyDtoDAsync(self, dst: int, src: int, ByteCount: int, hStream: Any) -> None:
        target, source = self._at(dst, ByteCount), self._at(src, ByteCount)
        self._add(hStream, lambda: np.copyto(target, source))

    @asked
    def cuMemsetD32Async(self, dstDevice: int, ui: int, N: int, hStream: Any) -> None:
        if dstDevice % 4:
            raise Refused(R.CUDA_ERROR_INVALID_VALUE)
        target = self._at(dstDevice, 4 * N).view(np.uint32)
        self._add(hStream, lambda: target.fill(ui))

    # --- streams and events ----------------------------------------------------------------

    @asked
    def cuStreamCreateWithPriority(self, flags: int, priority: int) -> Any:
        if flags != codes.CUstream_flags.CU_STREAM_NON_BLOCKING or not -5 <= priority <= 0:
            raise Refused(R.CUDA_ERROR_INVALID_VALUE)
        stream = self._given(Stream(priority))
        self._machine.streams.append(stream)
        return stream

    @asked
    def cuStreamDestroy(self, hStream: Any) -> None:
        self._check(hStream, Stream)
        self._known.discard(hStream)  # what stands in it still runs

    @asked
    def cuStreamWaitEvent(self, hStream: Any, hEvent: Any, Flags: int) -> None:
        stream, event = self._check(hStream, Stream), self._check(hEvent, Event)
        if event.captured is not None:
            graph = next(one.graph for one in self._machine.streams if one.graph is not None)
            if stream.graph is None:
                stream.graph, stream.tail = graph, set()
                graph.streams.append(stream)
            stream.tail = stream.tail | event.captured
        elif event.node is not None:
            if stream.graph is not None:
                raise Refused(R.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
            stream.add(lambda: None, [event.node])

    @asked
    def cuEventCreate(self, Flags: int) -> Any:
        return self._given(Event(Flags))

    @asked
    def cuEventRecord(self, hEvent: Any, hStream: Any) -> None:
        stream, event = self._check(hStream, Stream), self._check(hEvent, Event)
        event.node, event.captured = None, None
        if stream.graph is not None:
            event.captured = set(stream.tail)
            return

        def come() -> None:
            event.time_s = self._machine.now_s

        event.node = stream.add(come)

    @asked
    def cuEventQuery(self, hEvent: Any) -> None:
        event = self._waitable(hEvent)
        if event.node is not None and not event.node.done:
            self._machine.step()
            if not event.node.done:
                raise Refused(R.CUDA_ERROR_NOT_READY)

    @asked
    def cuEventSynchronize(self, hEvent: Any) -> None:
        event = self._waitable(hEvent)
        if not event.flags & codes.CUevent_flags.CU_EVENT_BLOCKING_SYNC:
            raise AssertionError("who waits would spin")
        if event.node is not None:
            self._run_until(event.node)

    @asked
    def cuEventElapsedTime(self, hStart: Any, hEnd: Any) -> Any:
        start, end = (self._waitable(one) for one in (hStart, hEnd))
        for event in (start, end):
            if event.flags & codes.CUevent_flags.CU_EVENT_DISABLE_TIMING or event.node is None:
                raise Refused(R.CUDA_ERROR_INVALID_HANDLE)
            if not event.node.done:
                raise Refused(R.CUDA_ERROR_NOT_READY)
        return (end.time_s - start.time_s) * 1e3

    # --- modules and launches --------------------------------------------------------------

    @asked
    def cuModuleLoadDataEx(
        self, image: bytes, numOptions: int, options: list[Any], optionValues: list[Any]
    ) -> Any:
        assert numOptions == len(options) == len(optionValues)
        if image.startswith(b"\x7fELF"):
            return self._given(Module(dict.fromkeys(nvrtc._resources(image))))
        if not image.endswith(b"\0"):
            raise AssertionError("PTX ends with a zero byte")
        if self.refuses_ptx is not None:
            raise Refused(self.refuses_ptx)
        target = _TARGET.search(image)
        if target is None:
            log = b"ptxas fatal: Missing .target directive"
            optionValues[0][: len(log)] = log
            raise Refused(R.CUDA_ERROR_INVALID_PTX)
        if int(target[1]) > self._sm:
            raise Refused(R.CUDA_ERROR_NO_BINARY_FOR_GPU)
        return self._given(Module(entries_of(image)))

    @asked
    def cuModuleUnload(self, hmod: Any) -> None:
        self._check(hmod, Module)
        self._known.discard(hmod)

    @asked
    def cuModuleGetFunction(self, hmod: Any, name: bytes) -> Any:
        module = self._check(hmod, Module)
        if name.decode() not in module.entries:
            raise Refused(R.CUDA_ERROR_NOT_FOUND)
        return self._given(Function(module, name.decode()))

    @asked
    def cuFuncGetAttribute(self, attrib: Any, hfunc: Any) -> Any:
        self._function(hfunc)
        assert attrib == codes.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK
        return self._most_threads

    @asked
    def cuFuncSetAttribute(self, hfunc: Any, attrib: Any, value: int) -> None:
        most = codes.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        assert attrib == most
        self._function(hfunc).shared_bytes = value

    @asked
    def cuFuncGetParamInfo(self, func: Any, paramIndex: int) -> Any:
        sizes = self._function(func).sizes
        if sizes is None or paramIndex >= len(sizes):
            raise Refused(R.CUDA_ERROR_INVALID_VALUE)
        return 8 * paramIndex

    @asked
    def cuLaunchKernel(  # noqa: PLR0917 - so many has the driver's
        self, f: Any, gx: int, gy: int, gz: int, bx: int, by: int, bz: int,
        sharedMemBytes: int, hStream: Any, kernelParams: int, extra: int,
    ) -> None:  # fmt: skip
        function = self._function(f)
        if min(gx, gy, gz, bx, by, bz) < 1 or max(gy, gz) > 65535 or extra != 0:
            raise Refused(R.CUDA_ERROR_INVALID_VALUE)
        if bx * by * bz > self._most_threads or sharedMemBytes > function.shared_bytes:
            raise Refused(R.CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)
        assert function.sizes is not None, "the fake knows parameters from PTX alone"
        bits = [
            int.from_bytes(ctypes.string_at(_pointer(kernelParams, number), size), "little")
            for number, size in enumerate(function.sizes)
        ]
        self.launched.append(function.name)
        self._add(hStream, lambda: self._run(function, (gx, gy, gz), bx * by * bz, bits))

    # --- graphs ----------------------------------------------------------------------------

    @asked
    def cuStreamBeginCapture(self, hStream: Any, mode: Any) -> None:
        stream = self._check(hStream, Stream)
        assert mode == codes.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        assert not stream.queued, "nothing of what stands in a stream is captured"
        stream.graph, stream.tail = Graph(), set()

    @asked
    def cuStreamEndCapture(self, hStream: Any) -> Any:
        origin = self._check(hStream, Stream)
        graph = origin.graph
        if graph is None:
            raise Refused(R.CUDA_ERROR_INVALID_VALUE)
        joined = graph.joined(origin)
        for stream in (origin, *graph.streams):
            stream.graph, stream.tail = None, set()
        if not joined:
            raise Refused(R.CUDA_ERROR_STREAM_CAPTURE_UNJOINED)
        return self._given(graph)

    @asked
    def cuGraphInstantiate(self, hGraph: Any, flags: int) -> Any:
        graph, made = self._check(hGraph, Graph), Graph()
        made.nodes = graph.nodes
        return self._given(made)

    @asked
    def cuGraphDestroy(self, hGraph: Any) -> None:
        self._known.discard(self._check(hGraph, Graph))

    @asked
    def cuGraphExecDestroy(self, hGraphExec: Any) -> None:
        self._known.discard(self._check(hGraphExec, Graph))

    @asked
    def cuGraphUpload(self, hGraphExec: Any, hStream: Any) -> None:
        self._check(hGraphExec, Graph)
        self._add(hStream, lambda: None)

    @asked
    def cuGraphLaunch(self, hGraphExec: Any, hStream: Any) -> None:
        graph = self._check(hGraphExec, Graph)
        self.launched.append("graph")
        self._add(hStream, graph.run)


def _host(address: int, size: int) -> Any:
    return np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8)


def _pointer(array: int, number: int) -> int:
    address = ctypes.c_void_p.from_address(array + 8 * number).value
    assert address, "an argument without an address"
    return address
