<?php

namespace Espo\Modules\BitByLaw\Classes\Doctor;

use Espo\Core\Utils\Config;
use Espo\Entities\Job;
use Espo\ORM\EntityManager;
use Espo\ORM\Query\Part\Order;

/**
 * How this EspoCRM is run, as far as the sync depends on it. Only administrators can see it otherwise.
 */
class Instance
{
    public function __construct(
        private Config $config,
        private EntityManager $entityManager
    ) {}

    /**
     * `cronSecondsAgo`: since the last job ran, null if none is known. `webhookEventPortion`: null stands for EspoCRM's
     * own number.
     *
     * @return array{
     *     phpVersion: string,
     *     requiredPhpVersion: ?string,
     *     cronSecondsAgo: ?int,
     *     isApiAccessLogged: bool,
     *     webhookEventPortion: ?int
     * }
     */
    public function describe(): array
    {
        $isLogged = !$this->config->get('authLogDisabled') && !$this->config->get('authApiUserLogDisabled');

        return [
            'phpVersion' => PHP_VERSION,
            'requiredPhpVersion' => $this->config->get('requiredPhpVersion'),
            'cronSecondsAgo' => $this->getCronSecondsAgo(),
            'isApiAccessLogged' => $isLogged,
            'webhookEventPortion' => $this->config->get('webhookQueueEventPortionSize'),
        ];
    }

    private function getCronSecondsAgo(): ?int
    {
        $job = $this->entityManager
            ->getRDBRepositoryByClass(Job::class)
            ->where(['executedAt!=' => null])
            ->order('executedAt', Order::DESC)
            ->findOne();

        $moment = $job?->get('executedAt');

        return $moment ? time() - strtotime($moment . ' UTC') : null;
    }
}
