//! Encoder and decoder against each other and against hand-made words.

use crate::{
    Array, Bad, Bounded, Data, Decoder, Encoder, FixedStr, Mode, Ool, OutData, Outcome, Overflow, Port,
    PortName, Request, RpcError, Shape, Text, Value,
};

const INT32: u64 = 0x0000_0001_2000_2002;
const CHARS: u64 = 0x0000_0000_4000_0808;
const ANY: Shape = Shape { min: 32, fixed: false, complex: None };

fn message(write: impl FnOnce(&mut Encoder<'_>) -> Result<(), Overflow>) -> Result<Vec<u8>, Overflow> {
    let mut buffer = vec![0xee; 8192];
    let mut encoder = Encoder::new(&mut buffer);
    write(&mut encoder)?;
    let size = encoder.finish(7, Port::copy_send(PortName(5)), Port::default())?;
    buffer.truncate(size);
    Ok(buffer)
}

fn read<'m, T>(message: &'m [u8], read: impl FnOnce(&mut Decoder<'m>) -> Result<T, Bad>) -> Result<T, Bad> {
    let request = Request::new(Mode::Received, message).ok_or(Bad)?;
    let mut decoder = request.body::<false>(ANY)?;
    let value = read(&mut decoder)?;
    decoder.end()?;
    Ok(value)
}

#[test]
fn words_are_those_of_the_abi() {
    let bytes = message(|e| {
        e.value(INT32, -2i32)?;
        e.ool::<u8>(CHARS & !0xff | 9, Ool::moved(0x1234_5000, 4096))
    })
    .unwrap();
    assert_eq!(bytes[32..48], [2, 0x20, 0, 0x20, 1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(u64::load(&bytes[48..]), 0x0000_1000_c000_0809);
    assert_eq!(u64::load(&bytes[56..]), 0x1234_5000);
    // Complex, because memory is out of line; the destination's disposition is COPY_SEND.
    assert_eq!((u32::load(&bytes), u32::load(&bytes[4..]), bytes.len()), (0x8000_0013, 64, 64));
}

#[test]
fn nothing_of_the_old_buffer_leaves() {
    let bytes = message(|e| {
        e.value(INT32, 0i32)?;
        e.array::<u8>(0x0000_0000_2000_0808, 10, b"abc")?;
        e.array::<PortName>(0x0000_0000_2000_4013, 4, &[PortName(0)])?;
        e.string(0x0000_0010_2000_080c, 16, b"x")
    })
    .unwrap();
    assert!(!bytes.contains(&0xee));
}

#[test]
fn arrays_of_any_length_come_back() {
    for n in 0..=2100usize {
        let values: Vec<u8> = (0..n).map(|i| i as u8).collect();
        let bytes = message(|e| e.data(CHARS, 2048, &values)).unwrap();
        assert!(bytes.len().is_multiple_of(8));
        match read(&bytes, |d| d.data::<u8>(CHARS, 2048)).unwrap() {
            Data::Inline(array) => assert!(n <= 2048 && array.as_bytes() == values),
            Data::Ool(ool) => {
                assert!(n > 2048 && ool.count as usize == n && ool.address == values.as_ptr() as u64)
            }
        }
    }
}

#[test]
fn arrays_beyond_their_bound_are_refused_on_both_sides() {
    assert_eq!(message(|e| e.array::<u32>(0x2000_2002, 3, &[0; 4])), Err(Overflow));
    let bytes = message(|e| e.array::<u32>(0x2000_2002, 4, &[0; 4])).unwrap();
    assert_eq!(read(&bytes, |d| d.array::<u32>(0x2000_2002, 3)), Err(Bad));
    assert_eq!(read(&bytes, |d| d.array::<u32>(0x2000_2002, 4)).map(|a| a.len()), Ok(4));
}

#[test]
fn elements_of_several_units_count_as_one() {
    let pairs = [[1u64, 2], [3, 4]];
    let bytes = message(|e| e.array::<[u64; 2]>(0x2000_400b, 2, &pairs)).unwrap();
    assert_eq!(u32::load(&bytes[36..]), 4);
    let array = read(&bytes, |d| d.array::<[u64; 2]>(0x2000_400b, 2)).unwrap();
    assert_eq!(array.iter().collect::<Vec<_>>(), pairs);
    // Half an element is no element.
    let mut odd = bytes.clone();
    odd[36] = 3;
    assert_eq!(read(&odd, |d| d.array::<[u64; 2]>(0x2000_400b, 2)), Err(Bad));
}

#[test]
fn numbers_that_claim_too_much_are_refused() {
    let mut bytes = message(|e| e.array::<u32>(0x2000_2002, 4, &[0; 4])).unwrap();
    bytes[36..40].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(read(&bytes, |d| d.array::<u32>(0x2000_2002, usize::MAX)), Err(Bad));
    let request = message(|e| e.ool::<[u64; 31]>(0x4000_400b, Ool::copy(0, 1 << 30)));
    assert_eq!(request, Err(Overflow));
}

#[test]
fn strings_end_before_their_field() {
    assert_eq!(FixedStr::<4>::new(b"abc").unwrap().as_bytes(), b"abc");
    assert_eq!(FixedStr::<4>::new(b"abcd"), None);
    assert_eq!(FixedStr::<4>::new(b"a\0"), None);
    assert_eq!(FixedStr::<4>::truncated(b"abcd").as_bytes(), b"abc");
    let mut bytes = message(|e| e.string(0x0000_0004_2000_080c, 4, b"abc")).unwrap();
    // A sender that leaves out the NUL loses its last byte.
    bytes[43] = b'd';
    assert_eq!(
        read(&bytes, |d| d.text::<4>(0x0000_0004_2000_080c)).map(|text| text.as_bytes()),
        Ok(&b"abc"[..])
    );
}

/// Every length around the words that are copied at once, with a NUL at every place and without one.
#[test]
fn strings_of_all_lengths() {
    fn check<const N: usize>(text: &[u8]) {
        let nul = text.iter().position(|&b| b == 0);
        let kept = &text[..nul.unwrap_or(text.len()).min(N - 1)];
        assert_eq!(FixedStr::<N>::truncated(text).as_bytes(), kept);
        let whole = nul.is_none() && text.len() < N;
        assert_eq!(FixedStr::<N>::new(text).is_some(), whole);
        let mut field = [0xee; N];
        let front = text.len().min(N);
        field[..front].copy_from_slice(&text[..front]);
        let end = field.iter().position(|&b| b == 0).unwrap_or(N).min(N - 1);
        assert_eq!(FixedStr::of_field(&field).as_bytes(), &field[..end]);
        let word = 0x2000_080c | ((N as u64) << 32);
        let bytes = message(|e| e.string(word, N, text));
        assert_eq!(bytes.is_ok(), whole, "{N} {text:?}");
        let held = message(|e| e.string_value(word, &FixedStr::<N>::truncated(text))).unwrap();
        assert_eq!(read(&held, |d| d.text::<N>(word)).map(Text::as_bytes), Ok(kept));
        // The rest of the field is zeros.
        assert!(held[40 + kept.len()..].iter().all(|&b| b == 0));
        if let Ok(bytes) = bytes {
            assert_eq!(bytes, held);
        }
    }
    for length in 0..28 {
        for nul in 0..=length {
            let mut text = vec![b'x'; length];
            if let Some(place) = text.get_mut(nul) {
                *place = 0;
            }
            check::<1>(&text);
            check::<4>(&text);
            check::<8>(&text);
            check::<9>(&text);
            check::<16>(&text);
            check::<27>(&text);
        }
    }
}

/// Strings that are written where they are to be: of what was in the buffer, or in a longer string before, nothing leaves.
#[test]
fn strings_in_place() {
    let word = 0x0000_0010_2000_080c;
    let request = message(|e| e.value(INT32, 1i32)).unwrap();
    let request = Request::new(Mode::Received, &request).unwrap();
    let mut buffer = vec![0xee; 128];
    let mut encoder = request.reply::<false, false>(&mut buffer, Some(96), 7).unwrap();
    let mut places = encoder.places();
    places.text::<16>(56).unwrap();
    assert_eq!(places.text::<16>(71).map(drop), Err(Overflow), "one in the other");
    let second = encoder.places().text::<16>(80).unwrap();
    assert!(second.is_empty());
    let mut places = encoder.places();
    let (first, second) = (places.text::<16>(56).unwrap(), places.text::<16>(80).unwrap());
    assert_eq!((first.as_bytes(), second.as_bytes()), (&b""[..], &b""[..]));
    first.set(b"quite a long one").unwrap_err();
    first.set(b"with\0nul").unwrap_err();
    assert!(first.is_empty());
    first.set(b"a rather longer").unwrap();
    first.set(b"short").unwrap();
    assert_eq!((first.as_bytes(), first.is_empty()), (&b"short"[..], false));
    second.set(b"fits, barely...").unwrap();
    assert_eq!(encoder.places().text::<17>(80).map(drop), Err(Overflow), "beyond the end");
    encoder.text(word, 16).unwrap();
    encoder.text(word, 16).unwrap();
    assert_eq!(encoder.end(), Ok(96));
    assert_eq!(buffer[56..72], *b"short\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(buffer[80..96], *b"fits, barely...\0");
    assert!(!buffer[..96].contains(&0xee));
}

/// A method's error goes into the reply that was begun, and nothing of what the buffer held before goes with it.
#[test]
fn a_begun_reply_fails_as_one_that_was_not() {
    let request = message(|e| e.value(INT32, 1i32)).unwrap();
    for mode in [Mode::Received, Mode::Clean, Mode::Raw] {
        for size in [None, Some(56)] {
            let request = Request::new(mode, &request).unwrap();
            let (mut begun, mut plain) = (vec![0xee; 64], vec![0xee; 64]);
            let mut encoder = match mode {
                Mode::Received => request.reply::<false, false>(&mut begun, size, 7),
                Mode::Clean => request.reply::<false, true>(&mut begun, size, 7),
                Mode::Raw => request.reply::<true, false>(&mut begun, size, 7),
            }
            .unwrap();
            encoder.port(0x0000_0001_2000_4011, PortName(3)).unwrap_or_default();
            assert_eq!(encoder.fail(-7), request.error(-7, &mut plain));
            assert_eq!(begun[..48], plain[..48]);
        }
    }
    let request = Request::new(Mode::Received, &request).unwrap();
    let mut reply = [0; 64];
    assert_eq!(request.reply::<false, false>(&mut reply, None, 7).unwrap().fail(-305), Outcome::NoReply);
    // An error is no success, whatever it says.
    assert_eq!(request.reply::<false, false>(&mut reply, None, 7).unwrap().fail(0), Outcome::Reply(48));
    assert_eq!(i32::load(&reply[40..]), drover_abi::returns::KERN_FAILURE);
}

/// Whose failure it was: before anybody has answered it cannot be the routine's.
#[test]
fn refused_calls_are_no_answers() {
    use drover_abi::returns::{KERN_INVALID_ARGUMENT, KERN_RESOURCE_SHORTAGE, MIG_SERVER_DIED};
    for (code, refused, answered) in [
        (KERN_INVALID_ARGUMENT, RpcError::Transport(4), RpcError::Routine(4)),
        (KERN_RESOURCE_SHORTAGE, RpcError::Ceiling(6), RpcError::Ceiling(6)),
        (MIG_SERVER_DIED, RpcError::ServerDied, RpcError::ServerDied),
        (0x1000_0003, RpcError::Transport(0x1000_0003), RpcError::Routine(0x1000_0003)),
    ] {
        assert_eq!((RpcError::from_transport(code), RpcError::from_return(code)), (refused, answered));
    }
}

#[test]
fn containers() {
    let mut few = Bounded::<u32, 2>::new();
    assert!(few.push(1) && few.push(2) && !few.push(3));
    assert_eq!(few.as_slice(), [1, 2]);
    assert_eq!(Bounded::<u32, 2>::from_slice(&[1, 2, 3]), None);
    few.set_len(99);
    assert_eq!(few.len(), 2);
    assert_eq!(OutData::<u8, 4>::from_slice(b"12345"), None);
    let empty = Array::<u32>::EMPTY;
    assert_eq!((empty.len(), empty.get(0), empty.iter().next()), (0, None, None));
}

#[test]
fn messages_shorter_than_they_say() {
    let bytes = message(|e| e.value(INT32, 1i32)).unwrap();
    for length in 0..bytes.len() {
        assert_eq!(read(&bytes[..length], |d| d.value::<i32>(INT32)), Err(Bad));
    }
    assert_eq!(read(&bytes, |d| d.value::<i32>(INT32)), Ok(1));
    let mut tiny = [0u8; 16];
    assert_eq!(Encoder::new(&mut tiny).value(INT32, 0i32), Err(Overflow));
    assert_eq!(Encoder::new(&mut tiny).finish(0, Port::NULL, Port::NULL), Err(Overflow));
}
