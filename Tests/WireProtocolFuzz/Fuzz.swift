/// libFuzzer's door (https://llvm.org/docs/LibFuzzer.html): built by scripts/fuzz.sh, one module with WireProtocol.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = unsafe Array(UnsafeBufferPointer(start: bytes, count: count))
    if let complaint = Fuzzing.complaint(about: input) { fatalError(complaint) }
    return 0
}
