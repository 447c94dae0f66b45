//! Bodies: read up to the route's limit, decompressed up to another, into one reused buffer.

use crate::{api_error::ApiError, instance};
use edgewatch_engine::compression::InflateError;
use edgewatch_shared::{
    ErrorCode,
    limits::{BODY_BYTES_MAX, BODY_DECOMPRESSED_BYTES_MAX},
    wire::push::MEDIA_TYPE,
};
use futures_util::StreamExt;
use std::{cell::RefCell, io::Read};
use worker::Request;

/// How much larger a body may be once decompressed, on every route.
const DECOMPRESSED_RATIO: usize = BODY_DECOMPRESSED_BYTES_MAX / BODY_BYTES_MAX;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// A body as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    bytes: Vec<u8>,
    encoding: Encoding,
    is_batch: bool,
    decompressed_bytes_max: usize,
}

/// Reads a body; stops at the first byte over `bytes_max`. With 0 nothing is read.
pub async fn read(request: &mut Request, bytes_max: usize) -> Result<Body, ApiError> {
    if bytes_max == 0 {
        return Ok(Body {
            bytes: Vec::new(),
            encoding: Encoding::Identity,
            is_batch: false,
            decompressed_bytes_max: 0,
        });
    }
    let header = |name: &str| request.headers().get(name).map_err(ApiError::internal);
    let encoding = encoding_of(header("Content-Encoding")?.as_deref())?;
    // A compact push is zstd by its type.
    let is_batch =
        encoding == Encoding::Identity && header("Content-Type")?.is_some_and(|kind| is_batch(&kind));
    let encoding = if is_batch { Encoding::Zstd } else { encoding };
    let announced = header("Content-Length")?.and_then(|length| length.parse::<usize>().ok());
    let bytes = match announced {
        Some(length) if length > bytes_max => return Err(too_large(bytes_max)),
        // The runtime reads no more than was announced.
        Some(_) => announced_bytes(request).await?,
        None => streamed_bytes(request, bytes_max).await?,
    };
    let decompressed_bytes_max = bytes_max.saturating_mul(DECOMPRESSED_RATIO);
    Ok(Body { bytes, encoding, is_batch, decompressed_bytes_max })
}

#[expect(clippy::disallowed_methods, reason = "the length was announced and is within the limit")]
async fn announced_bytes(request: &mut Request) -> Result<Vec<u8>, ApiError> {
    request.bytes().await.map_err(cut_off)
}

async fn streamed_bytes(request: &mut Request, bytes_max: usize) -> Result<Vec<u8>, ApiError> {
    // A request without a body has no stream.
    let Ok(mut stream) = request.stream() else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend(chunk.map_err(cut_off)?);
        if bytes.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
    }
    Ok(bytes)
}

/// Whether a body's type is that of a compact push; case and parameters do not matter (RFC 9110, section 8.3.1).
fn is_batch(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(MEDIA_TYPE)
}

impl Body {
    /// Whether it is a compact push, by its type.
    pub fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// Hands the decompressed bytes to `work`, which never waits.
    pub fn with_bytes<T>(&self, work: impl FnOnce(&[u8]) -> Result<T, ApiError>) -> Result<T, ApiError> {
        match self.encoding {
            Encoding::Identity => work(&self.bytes),
            Encoding::Gzip => GUNZIPPED.with_borrow_mut(|buffer| {
                gunzip(&self.bytes, buffer, self.decompressed_bytes_max)?;
                work(buffer)
            }),
            Encoding::Zstd => instance::with(|instance| {
                let inflated = instance.inflater.inflate(&self.bytes, self.decompressed_bytes_max);
                work(inflated.map_err(|error| not_inflated(error, self.decompressed_bytes_max))?)
            }),
        }
    }
}

fn encoding_of(header: Option<&str>) -> Result<Encoding, ApiError> {
    match header.map(str::trim).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(Encoding::Identity),
        "gzip" | "x-gzip" => Ok(Encoding::Gzip),
        "zstd" => Ok(Encoding::Zstd),
        _ => Err(ApiError::new(
            ErrorCode::UnsupportedEncoding,
            "Content-Encoding must be zstd, gzip or identity",
        )),
    }
}

thread_local! {
    /// Used again for every gzip body; grows by what arrives.
    static GUNZIPPED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn gunzip(bytes: &[u8], buffer: &mut Vec<u8>, bytes_max: usize) -> Result<(), ApiError> {
    buffer.clear();
    // One byte over the limit is enough to see that there is more.
    let limit = bytes_max.saturating_add(1) as u64;
    let read = flate2::read::MultiGzDecoder::new(bytes).take(limit).read_to_end(buffer);
    if buffer.len() > bytes_max {
        return Err(decompressed_too_large(bytes_max));
    }
    read.map_err(|error| {
        ApiError::new(ErrorCode::MalformedBody, format!("the body is not valid gzip: {error}"))
    })?;
    Ok(())
}

fn not_inflated(error: InflateError, bytes_max: usize) -> ApiError {
    match error {
        InflateError::TooLarge { .. } => decompressed_too_large(bytes_max),
        other => ApiError::new(ErrorCode::MalformedBody, format!("the body is {other}")),
    }
}

fn too_large(bytes_max: usize) -> ApiError {
    ApiError::new(ErrorCode::BodyTooLarge, format!("the body has more than {bytes_max} bytes; split it"))
}

fn decompressed_too_large(bytes_max: usize) -> ApiError {
    let message = format!("the body decompresses to more than {bytes_max} bytes; split it");
    ApiError::new(ErrorCode::DecompressedTooLarge, message)
}

fn cut_off(error: worker::Error) -> ApiError {
    ApiError::new(ErrorCode::MalformedBody, format!("the body broke off: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzipped(length: usize) -> Body {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&vec![0; length]).unwrap();
        Body {
            bytes: encoder.finish().unwrap(),
            encoding: Encoding::Gzip,
            is_batch: false,
            decompressed_bytes_max: BODY_DECOMPRESSED_BYTES_MAX,
        }
    }

    fn length_of(body: &Body) -> Result<usize, ErrorCode> {
        body.with_bytes(|bytes| Ok(bytes.len())).map_err(|error| error.code())
    }

    #[test]
    fn gzip_passes_up_to_the_limit_and_not_a_byte_more() {
        let limit = BODY_DECOMPRESSED_BYTES_MAX;
        assert_eq!(length_of(&gzipped(limit)), Ok(limit));
        assert_eq!(length_of(&gzipped(limit + 1)), Err(ErrorCode::DecompressedTooLarge));
    }

    #[test]
    fn zstd_passes_up_to_the_limit_and_not_a_byte_more() {
        let limit = BODY_DECOMPRESSED_BYTES_MAX;
        let zstd = |length: usize| {
            let bytes = instance::with(|instance| instance.deflater.deflate(&vec![0; length], 1).unwrap());
            let decompressed_bytes_max = BODY_DECOMPRESSED_BYTES_MAX;
            Body { bytes, encoding: Encoding::Zstd, is_batch: false, decompressed_bytes_max }
        };
        assert_eq!(length_of(&zstd(limit)), Ok(limit));
        assert_eq!(length_of(&zstd(limit + 1)), Err(ErrorCode::DecompressedTooLarge));
    }

    #[test]
    fn what_is_not_what_it_says_is_malformed() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let bytes = b"plain text".to_vec();
            let body = Body { bytes, encoding, is_batch: false, decompressed_bytes_max: 1_000 };
            assert_eq!(length_of(&body), Err(ErrorCode::MalformedBody));
        }
        assert_eq!(
            encoding_of(Some("br")).map_err(|error| error.code()),
            Err(ErrorCode::UnsupportedEncoding)
        );
        assert_eq!(encoding_of(Some(" GZIP")), Ok(Encoding::Gzip));
    }

    #[test]
    fn a_compact_push_is_known_by_its_type() {
        for kind in [MEDIA_TYPE, "Application/VND.edgewatch.batch ; v=1"] {
            assert!(is_batch(kind), "{kind}");
        }
        for kind in ["", "application/json", "application/vnd.edgewatch.batches"] {
            assert!(!is_batch(kind), "{kind}");
        }
    }
}
