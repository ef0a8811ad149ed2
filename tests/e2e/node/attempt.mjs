// What the scripts share: try something, and print what came of it as one line of JSON.

export async function attempt(name, work) {
  let told;
  try {
    told = { name, value: (await work()) ?? null };
  } catch (error) {
    told = {
      name,
      error: {
        class: error.constructor.name,
        status: error.status ?? null,
        code: error.code ?? null,
        type: error.type ?? error.error?.error?.type ?? null,
        message: String(error.message),
        retry_after: error.headers?.get?.("retry-after") ?? null,
        request_id: error.requestID ?? null,
      },
    };
  }
  process.stdout.write(`${JSON.stringify(told)}\n`);
}
