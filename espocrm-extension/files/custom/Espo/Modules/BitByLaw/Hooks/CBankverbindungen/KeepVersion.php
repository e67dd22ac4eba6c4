<?php

namespace Espo\Modules\BitByLaw\Hooks\CBankverbindungen;

use Espo\Modules\BitByLaw\Classes\Sync\KeepVersion as Base;

class KeepVersion extends Base
{
}
