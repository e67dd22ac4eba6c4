<?php

namespace Espo\Modules\BitByLaw\Classes\Write;

/**
 * Whether records of ours are saved silently at this moment, see Repositories\Synced.
 */
class SilentSaves
{
    private bool $isOn = false;

    public function isOn(): bool
    {
        return $this->isOn;
    }

    /**
     * @template T
     * @param callable(): T $function
     * @return T
     */
    public function during(callable $function): mixed
    {
        $this->isOn = true;

        try {
            return $function();
        } finally {
            $this->isOn = false;
        }
    }
}
