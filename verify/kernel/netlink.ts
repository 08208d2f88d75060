/**
 * Netlink messages as the helper hands them over (linux/netlink.h, nfnetlink.h).
 *
 *     | u32 length | u16 type | u16 flags | u32 sequence | u32 port | u8 family | u8 version | be16 id | attributes… |
 *     attribute:   | u16 length | u16 type | value, padded to 4 bytes |
 */

const HEADER_BYTES = 16 + 4;
const ATTRIBUTE_HEADER_BYTES = 4;
/** The two highest bits of an attribute's type say "nested" and "network byte order". */
const TYPE_MASK = 0x3fff;

/** Type of the message within its subsystem (the low byte of `nlmsg_type`), and its flags. */
export function messageHeader(message: Uint8Array): { readonly type: number; readonly flags: number } {
  const view = viewOf(message);
  return { type: view.getUint16(4, true) & 0xff, flags: view.getUint16(6, true) };
}

/** The attributes of a message. */
export function messageAttributes(message: Uint8Array): ReadonlyMap<number, Uint8Array> {
  return attributesOf(message.subarray(HEADER_BYTES));
}

/** Attributes one after another: those of a message, or those nested in a value. */
export function attributesOf(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const view = viewOf(bytes);
  const found = new Map<number, Uint8Array>();
  for (let at = 0; at + ATTRIBUTE_HEADER_BYTES <= bytes.length; ) {
    const length = view.getUint16(at, true);
    if (length < ATTRIBUTE_HEADER_BYTES || at + length > bytes.length) break;
    found.set(view.getUint16(at + 2, true) & TYPE_MASK, bytes.subarray(at + ATTRIBUTE_HEADER_BYTES, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

/** A number in network byte order, of 1 to 4 bytes, unsigned; undefined when the attribute is absent. */
export function numberIn(value: Uint8Array | undefined): number | undefined {
  if (value === undefined) return undefined;
  let number = 0;
  for (const byte of value) number = number * 256 + byte;
  return number;
}

/** A text that ends with a zero byte; empty when the attribute is absent. */
export function textIn(value: Uint8Array | undefined): string {
  if (value === undefined) return "";
  let text = "";
  for (const byte of value) {
    if (byte === 0) break;
    text += String.fromCharCode(byte);
  }
  return text;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
