//! Uploads a file.
//!
//! ```text
//! IOTHUB_DEVICE_CONNECTION_STRING='HostName=…;DeviceId=…;SharedAccessKey=…' cargo run --example upload_file -- FILE
//! ```

use std::path::Path;

use ferrohub_device::{DeviceClient, FileUpload};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: upload_file FILE")?;
    let name = Path::new(&path).file_name().ok_or("the path has no file name")?.to_string_lossy();
    // No connect: files are uploaded over HTTPS.
    let client = DeviceClient::from_connection_string(&std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?)?;
    let upload = FileUpload::from_reader(name, tokio::fs::File::open(&path).await?)
        .on_progress(|bytes| eprintln!("{bytes} bytes uploaded"));
    let file = client.upload_file(upload).await?;
    eprintln!("{} bytes at {}", file.blob_size_in_bytes, file.blob_uri);
    Ok(())
}
