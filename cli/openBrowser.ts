/** The browser of the person's desktop. */
import { spawn } from "node:child_process";
import { platform } from "node:os";

/** Opens an address of ours; resolves, once the opener has ended, to why it did not, or to undefined. */
export function openBrowser(address: string): Promise<string | undefined> {
  const [command = "xdg-open", ...before] = OPENERS[platform()] ?? ["xdg-open"];
  return new Promise((resolve) => {
    const child = spawn(command, [...before, address], { stdio: "ignore", detached: true });
    child.on("error", (error: NodeJS.ErrnoException) =>
      resolve(error.code === "ENOENT" ? `there is no ${command} here` : error.message),
    );
    child.on("exit", (code, signal) =>
      resolve(code === 0 ? undefined : `${command} ended with ${code === null ? signal : `code ${code}`}`),
    );
    child.unref();
  });
}

const OPENERS: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  darwin: ["open"],
  // `start` is a word of the command interpreter, which would read the `&` of an address itself.
  win32: ["rundll32", "url.dll,FileProtocolHandler"],
};
