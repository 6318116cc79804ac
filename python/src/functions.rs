//! Python functions over records: one thread that calls them, which the workers ask.

use crate::waiting::Wanted;
use packmill::pipeline::{RowFunction, RowFunctions};
use packmill::{Error, Kind, Result, Stage};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Records that are given to Python at a time, at most.
const MOST_AT_A_TIME: usize = 256;

/// Whether the interpreter is about to end. Held for reading by threads while they are in Python, which they must have left
/// before it ends: a thread that is in it then is ended where it stands, and the process with it.
static ENDING: RwLock<bool> = RwLock::new(false);

/// Does `work` in Python, unless the interpreter is about to end.
fn in_python<T>(work: impl FnOnce(Python<'_>) -> T) -> Option<T> {
    let ending = ENDING.read().unwrap_or_else(PoisonError::into_inner);
    match *ending {
        true => None,
        false => Python::try_attach(work),
    }
}

/// Waits until no thread calls a function, and lets none begin.
#[pyfunction]
pub(crate) fn end_functions(py: Python<'_>) {
    py.detach(|| *ENDING.write().unwrap_or_else(PoisonError::into_inner) = true);
}

/// What Python made of a record: the record to read, none where it is left out, or what was raised.
type Answer = std::result::Result<Option<Vec<u8>>, String>;

struct Request {
    record: Vec<u8>,
    answer: SyncSender<Answer>,
}

/// A chain of Python functions over one source's records. Its thread takes what the workers ask in the order in which they
/// ask, as many records at a time as are waiting, and is the only one that runs Python. It ends when this is dropped.
struct PythonFunction {
    identity: String,
    requests: Mutex<Sender<Request>>,
    /// Of a loader that is closed nobody waits for what is left of the workers' records.
    wanted: Wanted,
}

impl RowFunction for PythonFunction {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn apply(&self, record: &[u8]) -> Result<Option<Vec<u8>>> {
        self.wanted.check()?;
        let (answer, answered) = sync_channel(1);
        let record = record.to_vec();
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = requests.send(Request { record, answer });
        drop(requests);
        let answer = sent.ok().and_then(|()| answered.recv().ok());
        match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(raised)) => Err(Error::new(Kind::Row, Stage::Render, raised).remedy(
                "mend the function, leave such records out in it, or skip them with on_bad_record",
            )),
            None => Err(Error::new(
                Kind::Internal,
                Stage::Render,
                "the thread that calls Python functions is gone",
            )),
        }
    }
}

/// Functions as Python gives them: of each source's name, or None for all without their own, the identity and a callable
/// from a list of records to a list of a record, None, or the text of what was raised, each.
pub(crate) type Given = Vec<(Option<String>, String, Py<PyAny>)>;

/// Starts a thread for each of them, which are called as long as they are wanted.
pub(crate) fn started(given: Given, wanted: &Wanted) -> Result<RowFunctions> {
    let mut functions = RowFunctions::default();
    for (source, identity, callable) in given {
        let function: Arc<dyn RowFunction> = Arc::new(start(identity, callable, wanted.clone())?);
        functions = match source {
            Some(source) => functions.over(source, function),
            None => functions.over_all(function),
        };
    }
    Ok(functions)
}

fn start(identity: String, callable: Py<PyAny>, wanted: Wanted) -> Result<PythonFunction> {
    let (requests, queue) = channel();
    let thread = std::thread::Builder::new().name("packmill-python".to_owned());
    let spawned = thread.spawn(move || {
        serve(&queue, &callable);
        // Python's object may only go while Python is there to let it go; else it goes with the process.
        let mut callable = Some(callable);
        in_python(|_| drop(callable.take()));
        std::mem::forget(callable);
    });
    match spawned {
        Ok(_) => Ok(PythonFunction {
            identity,
            requests: Mutex::new(requests),
            wanted,
        }),
        Err(error) => Err(Error::new(
            Kind::Io,
            Stage::Render,
            "the thread that calls Python functions cannot be started",
        )
        .caused_by(error)),
    }
}

fn serve(queue: &Receiver<Request>, callable: &Py<PyAny>) {
    while let Ok(first) = queue.recv() {
        let mut requests = vec![first];
        while requests.len() < MOST_AT_A_TIME
            && let Ok(next) = queue.try_recv()
        {
            requests.push(next);
        }
        let records = requests.iter().map(|request| request.record.as_slice());
        let records: Vec<&[u8]> = records.collect();
        let Some(answers) = in_python(|py| asked(py, callable, &records)).flatten() else {
            // Whoever waits for an answer learns that there is none.
            return;
        };
        for (request, answer) in requests.into_iter().zip(answers) {
            // Whoever asked may have been ended.
            let _ = request.answer.send(answer);
        }
    }
}

/// An answer for each record; none where Python gives none any more, since it is about to end. Where all together cannot be
/// answered, as for want of memory, each is asked for alone: what is wrong with one is no matter of the others.
fn asked(py: Python<'_>, callable: &Py<PyAny>, records: &[&[u8]]) -> Option<Vec<Answer>> {
    match call(py, callable, records) {
        Ok(answers) if answers.len() == records.len() => Some(answers),
        Ok(answers) if answers.is_empty() => None,
        _ => {
            let alone = records.iter().map(|record| {
                match call(py, callable, std::slice::from_ref(record)) {
                    Ok(answers) => answers.into_iter().next(),
                    Err(raised) => Some(Err(raised)),
                }
            });
            alone.collect()
        }
    }
}

fn call(
    py: Python<'_>,
    callable: &Py<PyAny>,
    records: &[&[u8]],
) -> std::result::Result<Vec<Answer>, String> {
    let called = || -> PyResult<Vec<Answer>> {
        let records = PyList::new(py, records.iter().map(|record| PyBytes::new(py, record)))?;
        let answers = callable.bind(py).call1((records,))?;
        answers
            .try_iter()?
            .map(|answer| answered(&answer?))
            .collect()
    };
    called().map_err(|error| error.to_string())
}

fn answered(answer: &Bound<'_, PyAny>) -> PyResult<Answer> {
    if answer.is_none() {
        return Ok(Ok(None));
    }
    if let Ok(raised) = answer.extract::<String>() {
        return Ok(Err(raised));
    }
    Ok(Ok(Some(answer.extract::<Vec<u8>>()?)))
}
