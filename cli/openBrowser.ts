/** The browser of the person's desktop. */
import { spawn } from "node:child_process";
import { platform } from "node:os";

/** Opens an address of ours. Where there is no browser nothing happens: the address has been printed. */
export function openBrowser(address: string): void {
  const [command, ...before] = OPENERS[platform()] ?? ["xdg-open"];
  const child = spawn(command ?? "xdg-open", [...before, address], { stdio: "ignore", detached: true });
  child.on("error", () => {});
  child.unref();
}

const OPENERS: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  darwin: ["open"],
  win32: ["rundll32", "url.dll,FileProtocolHandler"],
};
