<?php

namespace Espo\Modules\BitByLaw\Classes\Actions;

use Espo\Core\Utils\Config;
use Espo\Core\Utils\Log;
use stdClass;

/**
 * Passes a user's action on to BitByLaw, signed with the key that only the two servers know.
 *
 * Address and key are set by an administrator (Settings: bitByLawUrl, bitByLawSecret). Redirects are not followed. See
 * docs/espocrm.md, "Buttons".
 */
class BitByLaw
{
    private const URL = 'bitByLawUrl';
    private const SECRET = 'bitByLawSecret';
    private const PATH = '/vmh/beteiligte/actions/';

    private const CONNECT_SECONDS = 5;
    private const SECONDS = 20;

    /** What BitByLaw says about the record, in the words of `services/api/record_actions.py`. */
    private const PASSED_ON = [200, 404, 409, 503];

    public function __construct(
        private Config $config,
        private Log $log
    ) {}

    public function isSetUp(): bool
    {
        return $this->getUrl() !== '' && $this->getSecret() !== '';
    }

    /**
     * @param stdClass $body An object with one key.
     */
    public function post(string $action, stdClass $body): Answer
    {
        if (!$this->isSetUp()) {
            return Answer::failed('not_set_up');
        }

        $path = self::PATH . $action;
        $content = json_encode($body, JSON_THROW_ON_ERROR);
        $timestamp = (string) time();
        $signature = hash_hmac('sha256', implode("\n", [$timestamp, 'POST', $path, $content]), $this->getSecret());

        $handle = curl_init($this->getUrl() . $path);

        if ($handle === false) {
            return Answer::failed('unreachable');
        }

        curl_setopt_array($handle, [
            CURLOPT_POST => true,
            CURLOPT_POSTFIELDS => $content,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_FOLLOWLOCATION => false,
            CURLOPT_PROTOCOLS => CURLPROTO_HTTP | CURLPROTO_HTTPS,
            CURLOPT_CONNECTTIMEOUT => self::CONNECT_SECONDS,
            CURLOPT_TIMEOUT => self::SECONDS,
            CURLOPT_HTTPHEADER => [
                'Content-Type: application/json',
                'Expect:',
                'X-BitByLaw-Timestamp: ' . $timestamp,
                'X-BitByLaw-Signature: ' . $signature,
            ],
        ]);

        $received = curl_exec($handle);
        $status = (int) curl_getinfo($handle, CURLINFO_RESPONSE_CODE);
        $error = curl_errno($handle);

        curl_close($handle);

        return $this->read($action, $status, $error, $received);
    }

    private function read(string $action, int $status, int $error, mixed $received): Answer
    {
        $body = is_string($received) ? json_decode($received) : null;

        if ($error === 0 && $body instanceof stdClass && in_array($status, self::PASSED_ON, true)) {
            return new Answer($status, $body);
        }

        $this->log->error("BitByLaw, action '$action': status $status, curl error $error.");

        if ($error !== 0) {
            return Answer::failed($error === CURLE_OPERATION_TIMEDOUT && $status === 0 ? 'slow' : 'unreachable');
        }

        // Not 401 itself, which would log the user out of EspoCRM.
        return Answer::failed($status === 401 ? 'not_admitted' : 'unexpected');
    }

    private function getUrl(): string
    {
        return rtrim((string) $this->config->get(self::URL), '/');
    }

    private function getSecret(): string
    {
        return (string) $this->config->get(self::SECRET);
    }
}
