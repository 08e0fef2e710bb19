/** For `--import`: a forked process that leaves as soon as it has answered, as one does that dies while nobody asks it. */
const send = process.send?.bind(process);

process.send = (message: object) => {
  const isAnswer = 'path' in message || ('type' in message && message.type === 'prepared');
  return (
    send?.(message, undefined, undefined, () => {
      if (isAnswer) process.exit(3);
    }) ?? false
  );
};
