<?php

namespace Espo\Modules\BitByLaw;

use Espo\Core\Binding\Binder;
use Espo\Core\Binding\BindingProcessor;
use Espo\Modules\BitByLaw\Classes\Privacy\Erasor;
use Espo\Modules\BitByLaw\Classes\Write\SilentSaves;
use Espo\Tools\DataPrivacy\Erasor as CoreErasor;

class Binding implements BindingProcessor
{
    public function process(Binder $binder): void
    {
        // One instance for the action that switches it on and the repositories that look at it.
        $binder->bindService(SilentSaves::class, 'bitbylawSilentSaves');

        $binder->bindImplementation(CoreErasor::class, Erasor::class);
    }
}
