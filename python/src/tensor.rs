//! Tensors that share a batch's memory with Python, by DLPack (version 1.0, and the form without a version before it).
//!
//! This is the crate's only `unsafe`. What makes it sound:
//!
//! - A [`Memory`] owns its batch and touches nothing of it until it is dropped: only the pointers that were taken from
//!   `&mut` before lead there, so consumers may write.
//! - Every tensor, and every capsule made of one, holds the memory by an `Arc`. A consumer's deleter lets go of it, on
//!   whatever thread and without the interpreter; the batch's buffers then go back to their pool.
//! - Shape and strides live in the same allocation as the capsule's struct, which the deleter frees.

use packmill::batch::{Batch, IdsMut, PROVENANCE_FIELDS, TensorsMut};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{CStr, c_char, c_void};
use std::sync::Arc;

const CPU: i32 = 1;
const INTEGER: u8 = 0;
const FLOAT: u8 = 2;
const PLAIN: &CStr = c"dltensor";
const VERSIONED: &CStr = c"dltensor_versioned";

/// A batch whose tensors were handed out.
struct Memory {
    /// For its drop alone.
    _batch: Batch,
}

/// One tensor of a batch, row-major, on the CPU. Frameworks take it without a copy: `torch.from_dlpack`,
/// `numpy.from_dlpack`, `jax.dlpack.from_dlpack`.
#[pyclass(frozen, module = "packmill._packmill")]
pub(crate) struct Tensor {
    memory: Arc<Memory>,
    data: *mut c_void,
    shape: Vec<i64>,
    code: u8,
    bits: u8,
}

/// What the two below lean on.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Arc<Memory>>();
};

// SAFETY: the pointer is only passed on, never read or written through here; what it points to is kept alive by
// `memory`, which is Send and Sync.
unsafe impl Send for Tensor {}
// SAFETY: as above; all methods take `&self` and change nothing.
unsafe impl Sync for Tensor {}

#[repr(C)]
#[derive(Clone, Copy)]
struct Device {
    kind: i32,
    id: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct DataType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device: Device,
    ndim: i32,
    dtype: DataType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

/// `DLManagedTensor`.
#[repr(C)]
struct Managed {
    tensor: DlTensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Managed)>,
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
struct ManagedVersioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut ManagedVersioned)>,
    flags: u64,
    tensor: DlTensor,
}

/// What a capsule's struct refers to. The struct comes first, so that its address is this one's.
#[repr(C)]
struct Held<T> {
    managed: T,
    /// Dimensions, then strides.
    numbers: Box<[i64]>,
    memory: Arc<Memory>,
}

/// A struct that consumers know, with the capsule that holds it.
trait Form: Sized {
    const NAME: &'static CStr;

    fn new(tensor: DlTensor) -> Self;

    fn tensor(&mut self) -> &mut DlTensor;
}

impl Form for Managed {
    const NAME: &'static CStr = PLAIN;

    fn new(tensor: DlTensor) -> Self {
        Managed {
            tensor,
            context: std::ptr::null_mut(),
            deleter: Some(delete::<Managed>),
        }
    }

    fn tensor(&mut self) -> &mut DlTensor {
        &mut self.tensor
    }
}

impl Form for ManagedVersioned {
    const NAME: &'static CStr = VERSIONED;

    fn new(tensor: DlTensor) -> Self {
        ManagedVersioned {
            major: 1,
            minor: 0,
            context: std::ptr::null_mut(),
            deleter: Some(delete::<ManagedVersioned>),
            flags: 0,
            tensor,
        }
    }

    fn tensor(&mut self) -> &mut DlTensor {
        &mut self.tensor
    }
}

/// Frees what [`Tensor::capsule`] made.
unsafe extern "C" fn delete<T>(managed: *mut T) {
    // SAFETY: `managed` is the first field of a `Held<T>` that was a box, and a consumer calls this once.
    drop(unsafe { Box::from_raw(managed.cast::<Held<T>>()) });
}

/// A capsule that nobody consumed frees its struct; a consumer has given it another name.
unsafe extern "C" fn destroy<T: Form>(capsule: *mut ffi::PyObject) {
    let name: *const c_char = T::NAME.as_ptr();
    // SAFETY: the interpreter calls this with the capsule that is being destroyed. Under its first name it still holds
    // the struct that `Tensor::capsule` put in.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, name) != 0 {
            let managed = ffi::PyCapsule_GetPointer(capsule, name);
            if !managed.is_null() {
                delete::<T>(managed.cast());
            }
        }
    }
}

impl Tensor {
    fn capsule<T: Form>(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mut stride = 1;
        let mut strides: Vec<i64> = self
            .shape
            .iter()
            .rev()
            .map(|dimension| {
                let own = stride;
                stride *= dimension;
                own
            })
            .collect();
        strides.reverse();
        let tensor = DlTensor {
            data: self.data,
            device: Device { kind: CPU, id: 0 },
            ndim: i32::try_from(self.shape.len()).unwrap_or(i32::MAX),
            dtype: DataType {
                code: self.code,
                bits: self.bits,
                lanes: 1,
            },
            shape: std::ptr::null_mut(),
            strides: std::ptr::null_mut(),
            byte_offset: 0,
        };
        let mut held = Box::new(Held {
            managed: T::new(tensor),
            numbers: self.shape.iter().copied().chain(strides).collect(),
            memory: Arc::clone(&self.memory),
        });
        let numbers = held.numbers.as_mut_ptr();
        let tensor = held.managed.tensor();
        tensor.shape = numbers;
        // As many dimensions as strides lie there.
        tensor.strides = numbers.wrapping_add(self.shape.len());
        let held = Box::into_raw(held);
        // SAFETY: the interpreter is held (`py`), the name is static, and `held` stays until the destructor or the
        // consumer's deleter frees it. On failure it is freed here.
        unsafe {
            let capsule = ffi::PyCapsule_New(held.cast(), T::NAME.as_ptr(), Some(destroy::<T>));
            if capsule.is_null() {
                drop(Box::from_raw(held));
                return Err(PyErr::fetch(py));
            }
            Ok(Bound::from_owned_ptr(py, capsule).unbind())
        }
    }
}

#[pymethods]
impl Tensor {
    /// Dimensions.
    #[getter]
    fn shape(&self) -> Vec<i64> {
        self.shape.clone()
    }

    /// Address of the first element: a multiple of 64.
    fn data_ptr(&self) -> usize {
        self.data.addr()
    }

    /// The data API's hand-over. Memory is on the CPU and is never copied here.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__(
        &self,
        py: Python<'_>,
        stream: Option<&Bound<'_, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Py<PyAny>> {
        let _ = stream;
        if dl_device.is_some_and(|(kind, _)| kind != CPU) {
            return Err(PyBufferError::new_err(
                "a packmill tensor lies on the CPU: copy it to the device there",
            ));
        }
        if copy == Some(true) {
            return Err(PyBufferError::new_err(
                "a packmill tensor is handed over without a copy: copy it there",
            ));
        }
        match max_version {
            Some((major, _)) if major >= 1 => self.capsule::<ManagedVersioned>(py),
            _ => self.capsule::<Managed>(py),
        }
    }

    fn __dlpack_device__(&self) -> (i32, i32) {
        (CPU, 0)
    }
}

/// A batch's tensors by name, in the order of the batch's table, which share its memory.
pub(crate) fn tensors(mut batch: Batch) -> Vec<(&'static str, Tensor)> {
    let fields = PROVENANCE_FIELDS.len() as i64;
    let square = vec![batch.rows() as i64, batch.sequence_length() as i64];
    let labels = match batch.labels() {
        Some(_) => "labels",
        None => "shift_labels",
    };
    let TensorsMut {
        input_ids,
        labels: targets,
        loss_weights,
        position_ids,
        segment_ids,
        cu_seqlens,
        segment_lengths,
        provenance,
    } = batch.tensors_mut();
    let mut parts = vec![
        ("input_ids", of_ids(input_ids), square.clone()),
        (labels, of_ids(targets), square.clone()),
    ];
    if !loss_weights.is_empty() {
        parts.push(("loss_weights", of(loss_weights, FLOAT), square.clone()));
    }
    let (runs, lengths) = (cu_seqlens.len() as i64, segment_lengths.len() as i64);
    let segments = provenance.len() as i64 / fields;
    parts.extend([
        ("position_ids", of(position_ids, INTEGER), square.clone()),
        ("segment_ids", of(segment_ids, INTEGER), square),
        ("cu_seqlens", of(cu_seqlens, INTEGER), vec![runs]),
        (
            "segment_lengths",
            of(segment_lengths, INTEGER),
            vec![lengths],
        ),
        (
            "provenance",
            of(provenance, INTEGER),
            vec![segments, fields],
        ),
    ]);
    let memory = Arc::new(Memory { _batch: batch });
    parts
        .into_iter()
        .map(|(name, (data, code, bits), shape)| {
            let tensor = Tensor {
                memory: Arc::clone(&memory),
                data,
                shape,
                code,
                bits,
            };
            (name, tensor)
        })
        .collect()
}

fn of_ids(ids: IdsMut<'_>) -> (*mut c_void, u8, u8) {
    match ids {
        IdsMut::I32(ids) => of(ids, INTEGER),
        IdsMut::I64(ids) => of(ids, INTEGER),
    }
}

fn of<T>(elements: &mut [T], code: u8) -> (*mut c_void, u8, u8) {
    (elements.as_mut_ptr().cast(), code, 8 * size_of::<T>() as u8)
}
