// SPDX-License-Identifier: MIT OR Apache-2.0
// repo-stream beside our walker (../README.md), used as its own examples and benches use it.
//
//   time SECONDS FILE...     each file from memory, again and again; a JSON object a file
//   count FILE               one file through its buffered reader; records, and the sum of their bytes
//   spill MB FOLDER FILE     the same under a memory limit, with its disk store in FOLDER
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use repo_stream::{DiskBuilder, DriverBuilder, LoadError};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const CHUNK: usize = 256;
const RUNS_MAX: usize = 20_000;
const MEMORY_MB: usize = 4096;

/// The system's allocator, counted.
struct Counted;
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn length(record: Vec<u8>) -> Vec<u8> {
    record.len().to_ne_bytes().to_vec()
}

fn builder(memory_mb: usize) -> DriverBuilder {
    DriverBuilder::new().with_mem_limit_mb(memory_mb).with_block_processor(length)
}

fn size_of(data: &[u8]) -> Result<u64> {
    Ok(u64::try_from(usize::from_ne_bytes(data.try_into()?))?)
}

async fn walk_slice(car: &[u8]) -> Result<(u64, u64)> {
    let mut driver = builder(MEMORY_MB).load_car(car).await.map_err(|e| e.to_string())?;
    let (mut records, mut bytes) = (0, 0);
    while let Some(chunk) = driver.next_chunk_strict(CHUNK)? {
        for output in chunk {
            records += 1;
            bytes += size_of(&output.data)?;
        }
    }
    Ok((records, bytes))
}

async fn time(seconds: f64, path: &str) -> Result<()> {
    let car = std::fs::read(path)?;
    let mut times = Vec::with_capacity(RUNS_MAX);
    let mut seen = (0, 0);
    let started = Instant::now();
    let mut allocations = 0;
    while times.len() < RUNS_MAX && (times.len() < 3 || started.elapsed().as_secs_f64() < seconds) {
        let before = ALLOCATIONS.load(Relaxed);
        let from = Instant::now();
        seen = walk_slice(&car).await?;
        times.push(from.elapsed().as_nanos());
        allocations = ALLOCATIONS.load(Relaxed) - before;
    }
    times.sort_unstable();
    println!(
        "{{\"file\":\"{path}\",\"bytes\":{},\"records\":{},\"record_bytes\":{},\"runs\":{},\"best_ns\":{},\
         \"p50_ns\":{},\"p99_ns\":{},\"allocations\":{allocations}}}",
        car.len(), seen.0, seen.1, times.len(), times[0], times[times.len() / 2], times[times.len() * 99 / 100]
    );
    Ok(())
}

async fn count(path: &str) -> Result<(u64, u64)> {
    let reader = tokio::io::BufReader::new(tokio::fs::File::open(path).await?);
    let mut driver = builder(MEMORY_MB).load_car(reader).await.map_err(|e| e.to_string())?;
    let (mut records, mut bytes) = (0, 0);
    while let Some(chunk) = driver.next_chunk_strict(CHUNK)? {
        for output in chunk {
            records += 1;
            bytes += size_of(&output.data)?;
        }
    }
    Ok((records, bytes))
}

async fn spill(memory_mb: usize, folder: &str, path: &str) -> Result<(u64, u64)> {
    let reader = tokio::io::BufReader::new(tokio::fs::File::open(path).await?);
    let partial = match builder(memory_mb).load_car(reader).await {
        Err(LoadError::MemoryLimitReached(partial)) => partial,
        Ok(_) => return Err("the file fits in memory".into()),
        Err(e) => return Err(e.to_string().into()),
    };
    let store = DiskBuilder::new().open(PathBuf::from(folder).join("store")).await?;
    let (_, _, driver) = partial.finish_loading(store).await?;
    let (mut chunks, walker) = driver.to_channel(512);
    let (mut records, mut bytes) = (0, 0);
    while let Some(chunk) = chunks.recv().await {
        for output in chunk? {
            records += 1;
            bytes += size_of(&output.data)?;
        }
    }
    walker.await?;
    Ok((records, bytes))
}

fn tell(seen: (u64, u64)) {
    println!("{} {}", seen.0, seen.1);
}

async fn run(args: Vec<String>) -> Result<()> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["time", seconds, ref files @ ..] => {
            for file in files {
                time(seconds.parse()?, file).await?;
            }
        }
        ["count", file] => tell(count(file).await?),
        ["spill", memory_mb, folder, file] => tell(spill(memory_mb.parse()?, folder, file).await?),
        _ => return Err("time SECONDS FILE... | count FILE | spill MB FOLDER FILE".into()),
    }
    Ok(())
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(std::env::args().skip(1).collect()))
}
