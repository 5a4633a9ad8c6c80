/**
 * Reads and writes at a position, on a raw descriptor with Node's callback API: a request costs one hop to the
 * thread pool and nothing else, where a `FileHandle` costs two to five times that.
 */
import fs from "node:fs";
import { assertOffset } from "@qcow2/core";

/** The most that one request asks of the host; Node.js accepts less than 2 GiB. */
const MAX_REQUEST_BYTES = 2 ** 30;

/** Zeroes are written from one shared piece of this size. */
const ZERO_PIECE_BYTES = 2 ** 20;

/** Fills `into` from `position`; resolves with the bytes read, fewer than `into.length` only at the end of the file. */
export function readAt(fd: number, into: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let done = 0;
    const next = (): void => {
      assertOffset(position + done, "position of a read");
      const length = Math.min(into.length - done, MAX_REQUEST_BYTES);
      fs.read(fd, into, done, length, position + done, (error, count) => {
        if (error !== null) return reject(error);
        done += count;
        if (count === 0 || done === into.length) return resolve(done);
        next();
      });
    };
    next();
  });
}

/** Writes all of `from` at `position`. */
export function writeAt(fd: number, from: Uint8Array, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let done = 0;
    const next = (): void => {
      // Given anything but an exact number, fs.write writes at the current position: the header, as a rule.
      assertOffset(position + done, "position of a write");
      const length = Math.min(from.length - done, MAX_REQUEST_BYTES);
      fs.write(fd, from, done, length, position + done, (error, count) => {
        if (error !== null) return reject(error);
        if (count === 0) return reject(new Error("the host wrote nothing and reported no error"));
        done += count;
        if (done === from.length) return resolve();
        next();
      });
    };
    next();
  });
}

let zeroPiece: Uint8Array | undefined;

/** Writes `length` zeroes at `position`. */
export async function writeZeroesAt(fd: number, position: number, length: number): Promise<void> {
  zeroPiece ??= new Uint8Array(ZERO_PIECE_BYTES);
  for (let done = 0; done < length; done += ZERO_PIECE_BYTES) {
    await writeAt(fd, zeroPiece.subarray(0, Math.min(ZERO_PIECE_BYTES, length - done)), position + done);
  }
}
