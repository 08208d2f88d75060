/** Limits of names in a kernel, and the few ways solutions make long or foreign text fit them. */

/** XT_EXTENSION_MAXNAMELEN (29) less the final zero (linux/netfilter/x_tables.h). */
export const CHAIN_NAME_MAX_BYTES = 28;
/** IPSET_MAXNAMELEN (32) less the final zero (linux/netfilter/ipset/ip_set.h). */
export const SET_NAME_MAX_BYTES = 31;
/** XT_MAX_COMMENT_LEN (256) less the final zero (linux/netfilter/xt_comment.h). */
export const COMMENT_MAX_BYTES = 255;
/** IPSET_MAX_COMMENT_SIZE (linux/netfilter/ipset/ip_set.h). */
export const SET_COMMENT_MAX_BYTES = 255;
/** IFNAMSIZ (16) less the final zero (linux/if.h). */
export const INTERFACE_NAME_MAX_BYTES = 15;

const UTF8 = new TextEncoder();

/** The length of the text in UTF-8. */
export function utf8Bytes(text: string): number {
  // Names are ASCII nearly always, and asked about rule by rule.
  return isAscii(text) ? text.length : UTF8.encode(text).length;
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false;
  return true;
}

/** The longest beginning of the text that needs at most `maximumBytes` in UTF-8; no character is cut in two. */
export function cutToBytes(text: string, maximumBytes: number): string {
  if (text.length <= maximumBytes && isAscii(text)) return text;
  const { read } = UTF8.encodeInto(text, new Uint8Array(maximumBytes));
  return text.slice(0, read);
}

/** Whether the text is of the characters from blank to tilde alone, as nearly every text is. */
export function isPrintableAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code < 0x20 || code > 0x7e) return false;
  }
  return true;
}

/** The text without control characters (Unicode category Cc), line ends among them. */
export function withoutControls(text: string): string {
  return isPrintableAscii(text) ? text : text.replace(/\p{Cc}/gu, "");
}

/** Whether the text has a control character, a line end for one. */
export function hasControls(text: string): boolean {
  return /\p{Cc}/u.test(text);
}

/** Letters, digits, and `-`, `_`, `:`, `.` behind the first: the names that solutions give. */
function isPlainWord(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    const isLetter = (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a);
    const isDigit = code >= 0x30 && code <= 0x3a; // the colon follows the 9
    const isJoint = code === 0x2d || code === 0x2e || code === 0x5f;
    if (!isLetter && !isDigit && (index === 0 || !isJoint)) return false;
  }
  return true;
}

/**
 * Why the restore commands would not read the text as one plain word, or undefined: a name is never quoted in a save, so
 * that a blank, a quote or a leading dash in it would smuggle in an option.
 */
export function unsafeName(name: string, maximumBytes: number): string | undefined {
  if (name === "") return "is empty";
  if (utf8Bytes(name) > maximumBytes) return `is longer than ${maximumBytes} bytes`;
  if (isPlainWord(name)) return undefined;
  if (/[\s"\p{Cc}]/u.test(name)) return "has white space, a quote or a control character";
  if (/^[-!]/.test(name)) return "begins like an option";
  return undefined;
}
