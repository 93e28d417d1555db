"""A stand-in for libedgetpu, built by the tests, and for what its compiler makes of a model.

The library exports the two functions of TensorFlow Lite's external delegate interface
(tensorflow/lite/delegates/external/external_delegate_interface.h). What it does is chosen by the
environment, so that one build serves every test:

* ``STUB_DELEGATE=null``   no device: gives no delegate, as the real library does
* ``STUB_DELEGATE=abort``  the library of another TensorFlow: SIGABRT; ``segfault``: SIGSEGV
* ``STUB_DELEGATE=hang``   never answers
* ``STUB_DELEGATE=works``  claims every ``edgetpu-custom-op`` and copies its input to its output

``STUB_DELEGATE_LOST`` names a file: while it is there, no device is found, and one that runs fails
at its next inference, as a stick that is pulled out. While the file ``STUB_DELEGATE_WRONG`` names
is there, the answers are wrong. While the file ``STUB_DELEGATE_BUSY`` names is there, the device is
being opened, for 20 seconds at most.

A compiled model is made from a plain one by putting such an operator before its first: without the
delegate the runtime says what it says of a real one ("unresolved custom op"), with it the answers
are the plain model's. Nothing else of an Edge TPU is shown by it: no real library, no speed, no
rounding, no firmware.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["build_stub", "compiled_stand_in"]

# Layouts as in TensorFlow's public header tensorflow/lite/core/c/common.h: TfLiteDelegate and
# TfLiteTensor whole; of TfLiteContext and TfLiteNode as far down as something is used.
SOURCE = r"""
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int Status; /* TfLiteStatus: 0 ok, 1 error */
typedef struct { int size; int data[]; } IntArray;
typedef struct { int type; void *data; IntArray *dims; float scale; int32_t zero_point;
                 int allocation_type; size_t bytes; const void *allocation; const char *name;
                 void *delegate; int buffer_handle; bool data_is_stale, is_variable;
                 struct { int type; void *params; } quantization; void *sparsity;
                 const IntArray *dims_signature; } Tensor;
typedef struct { IntArray *inputs, *outputs; } Node;
struct Context;
typedef struct {
  void *(*init)(struct Context *, const char *, size_t);
  void (*free)(struct Context *, void *);
  Status (*prepare)(struct Context *, Node *);
  Status (*invoke)(struct Context *, Node *);
  const char *(*profiling_string)(const struct Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *registration_external, *async_kernel;
  uint64_t inplace_operator;
} Registration;
struct Delegate;
typedef struct Context {
  size_t tensors_size;
  Status (*GetExecutionPlan)(struct Context *, IntArray **);
  Tensor *tensors;
  void *impl;
  void *ResizeTensor;
  void (*ReportError)(struct Context *, const char *, ...);
  void *AddTensors;
  Status (*GetNodeAndRegistration)(struct Context *, int, Node **, Registration **);
  Status (*ReplaceNodeSubsetsWithDelegateKernels)(struct Context *, Registration, const IntArray *,
                                                  struct Delegate *);
} Context;
typedef struct Delegate {
  void *data;
  Status (*Prepare)(Context *, struct Delegate *);
  void *CopyFromBufferHandle, *CopyToBufferHandle, *FreeBufferHandle;
  int64_t flags;
  void *opaque_delegate_builder;
} Delegate;

static bool is_there(const char *variable) {
  const char *path = getenv(variable);
  return path && access(path, F_OK) == 0;
}

static Status invoke(Context *context, Node *node) {
  if (is_there("STUB_DELEGATE_LOST")) {
    context->ReportError(context, "The device is gone.");
    return 1;
  }
  Tensor *from = &context->tensors[node->inputs->data[0]];
  Tensor *to = &context->tensors[node->outputs->data[0]];
  if (is_there("STUB_DELEGATE_WRONG")) memset(to->data, 0, to->bytes);
  else memcpy(to->data, from->data, to->bytes);
  return 0;
}

static Status prepare_node(Context *context, Node *node) {
  (void)context; (void)node;
  return 0;
}

static Status prepare(Context *context, Delegate *delegate) {
  IntArray *plan;
  if (context->GetExecutionPlan(context, &plan)) return 1;
  IntArray *ours = malloc(sizeof(IntArray) + plan->size * sizeof(int));
  ours->size = 0;
  for (int i = 0; i < plan->size; i++) {
    Node *node;
    Registration *kind;
    if (context->GetNodeAndRegistration(context, plan->data[i], &node, &kind)) return 1;
    if (kind->custom_name && strcmp(kind->custom_name, "edgetpu-custom-op") == 0)
      ours->data[ours->size++] = plan->data[i];
  }
  Registration kernel = {.prepare = prepare_node, .invoke = invoke,
                         .custom_name = "EdgeTpuDelegateForCustomOp", .version = 1};
  Status status = context->ReplaceNodeSubsetsWithDelegateKernels(context, kernel, ours, delegate);
  free(ours);
  return status;
}

void *tflite_plugin_create_delegate(char **keys, char **values, size_t count,
                                    void (*report)(const char *)) {
  (void)keys; (void)values; (void)count; (void)report;
  const char *mode = getenv("STUB_DELEGATE");
  if (!mode || strcmp(mode, "null") == 0 || is_there("STUB_DELEGATE_LOST")) return NULL;
  if (strcmp(mode, "abort") == 0) abort();
  if (strcmp(mode, "segfault") == 0) *(volatile int *)NULL = 1;
  while (strcmp(mode, "hang") == 0) pause();
  for (int i = 0; i < 2000 && is_there("STUB_DELEGATE_BUSY"); i++) usleep(10000);
  Delegate *delegate = calloc(1, sizeof(Delegate));
  delegate->Prepare = prepare;
  /* AllowDynamicTensors: else the runtime prepares the unresolved operator before it is claimed. */
  delegate->flags = 1;
  return delegate;
}

void tflite_plugin_destroy_delegate(void *delegate) { free(delegate); }
"""


def build_stub(folder: Path) -> Path:
    """The library, built into a folder; skips the test where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (apt-get install gcc): the stub delegate cannot be built")
    source, library = folder / "stub.c", folder / "libstub_edgetpu.so.1"
    source.write_text(SOURCE)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), str(source)],
        check=True,
    )
    return library


def compiled_stand_in(flatbuffer: bytes) -> bytes:
    """A plain model with an ``edgetpu-custom-op`` between its input and its first operator."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = b"edgetpu-custom-op", 1
    model.operatorCodes.append(code)
    graph = model.subgraphs[0]
    given = graph.tensors[graph.inputs[0]]
    passed = schema.TensorT()
    passed.name, passed.buffer = b"passed", len(model.buffers)
    passed.shape, passed.type = given.shape, given.type
    passed.quantization = given.quantization
    model.buffers.append(schema.BufferT())
    graph.tensors.append(passed)
    new = len(graph.tensors) - 1
    for operator in graph.operators:
        operator.inputs = [new if i == graph.inputs[0] else i for i in operator.inputs]
    custom = schema.OperatorT()
    custom.opcodeIndex = len(model.operatorCodes) - 1
    custom.inputs, custom.outputs = [graph.inputs[0]], [new]
    graph.operators.insert(0, custom)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
