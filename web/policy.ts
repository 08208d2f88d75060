/** The page's content security policy, for the build, which writes it into the page, and for the server, which sends it. */

export type Policy = Readonly<Record<string, string>>;

const COMMON: Policy = {
  "default-src": "'none'",
  "img-src": "'self' data:",
  "base-uri": "'none'",
  "form-action": "'none'",
};

/** Of the page as files: from where it came, and from nowhere else. */
export const OF_FILES: Policy = {
  ...COMMON,
  "script-src": "'self'",
  "worker-src": "'self'",
  "style-src": "'self'",
  "connect-src": "'self'",
};

/** In a header alone: a page cannot say this of itself. */
export const OF_SERVER: Policy = { ...OF_FILES, "frame-ancestors": "'none'" };

/** Of the page as one file: its own script and style by their hashes, and what the script makes of its texts. */
export function policyOfOneFile(script: string, style: string): Policy {
  return {
    ...COMMON,
    "script-src": `${script} blob:`,
    "worker-src": "blob:",
    "style-src": style,
    "connect-src": "'none'",
  };
}

export function policyText(policy: Policy): string {
  return Object.entries(policy)
    .map(([name, value]) => `${name} ${value}`)
    .join("; ");
}
