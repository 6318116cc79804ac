//! Python functions over records: one thread that calls them, which the workers ask.

use packmill::pipeline::{RowFunction, RowFunctions};
use packmill::{Error, Kind, Result, Stage};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Records that are given to Python at a time, at most.
const MOST_AT_A_TIME: usize = 256;

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
}

impl RowFunction for PythonFunction {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn apply(&self, record: &[u8]) -> Result<Option<Vec<u8>>> {
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

/// Starts a thread for each of them.
pub(crate) fn started(given: Given) -> Result<RowFunctions> {
    let mut functions = RowFunctions::default();
    for (source, identity, callable) in given {
        let function: Arc<dyn RowFunction> = Arc::new(start(identity, callable)?);
        functions = match source {
            Some(source) => functions.over(source, function),
            None => functions.over_all(function),
        };
    }
    Ok(functions)
}

fn start(identity: String, callable: Py<PyAny>) -> Result<PythonFunction> {
    let (requests, queue) = channel();
    let thread = std::thread::Builder::new().name("packmill-python".to_owned());
    let spawned = thread.spawn(move || {
        serve(&queue, &callable);
        // Python's object may only go while Python is there to let it go.
        let _ = Python::try_attach(move |_| drop(callable));
    });
    match spawned {
        Ok(_) => Ok(PythonFunction {
            identity,
            requests: Mutex::new(requests),
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
        let Some(answers) = Python::try_attach(|py| call(py, callable, &records)) else {
            // The interpreter is going down, and nobody waits for records any more.
            return;
        };
        let mut answers = answers.unwrap_or_else(|raised| vec![Err(raised); requests.len()]);
        answers.resize_with(requests.len(), || Err("no answer came".to_owned()));
        for (request, answer) in requests.into_iter().zip(answers) {
            // Whoever asked may have been ended.
            let _ = request.answer.send(answer);
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
