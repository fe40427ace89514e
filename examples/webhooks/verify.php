<?php
// php verify.php < body, with WEBHOOK_SECRET and the three header fields in the environment. Exits 0 if it is genuine.
declare(strict_types=1);

const TOLERANCE_S = 300;

/** Whether a message is genuine and new. $body is what arrived, byte by byte: file_get_contents('php://input'). */
function is_genuine(string $body, array $headers, string $secret): bool
{
    $timestamp = $headers['webhook-timestamp'];
    if (!ctype_digit($timestamp) || abs(time() - (int) $timestamp) > TOLERANCE_S) {
        return false;
    }
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret));
    $signed = "{$headers['webhook-id']}.{$timestamp}.{$body}";
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', $signed, $key, true));
    foreach (explode(' ', $headers['webhook-signature']) as $given) {
        if (hash_equals($expected, $given)) {
            return true;
        }
    }
    return false;
}

$headers = [
    'webhook-id' => (string) getenv('WEBHOOK_ID'),
    'webhook-timestamp' => (string) getenv('WEBHOOK_TIMESTAMP'),
    'webhook-signature' => (string) getenv('WEBHOOK_SIGNATURE'),
];
exit(is_genuine(file_get_contents('php://stdin'), $headers, (string) getenv('WEBHOOK_SECRET')) ? 0 : 1);
