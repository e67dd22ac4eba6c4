<?php

namespace Espo\Modules\BitByLaw\Controllers;

use Espo\Core\Templates\Controllers\Person;

class CBeteiligte extends Person
{
}
